"""Training samples: a system prompt and consecutive dialogues of the corpus, with variations.

The wording and typing of questions and the names to remember vary. Some samples have a question
about an unknown thing. No variation equals a held-out question.
"""
import random

import common
from corpus import NAMES, STRANGERS, UNKNOWN

SHORT_SYSTEMS = ["You are a helpful assistant.\n", "You are a friendly chatbot.\n", "Answer briefly.\n", "You are a small demo model.\n", "Be polite.\n",
                 "你是一个有用的助手。\n", "请简短回答。\n", "你是一个友好的聊天机器人。\n"]
FILLERS = {"en": "the a an is do can you i please me to of some".split(), "zh": list("的吗一个请我你是了有")}
ROBUST = {"greeting", "thanks", "bye", "self", "moss", "program", "films", "fun", "code", "refusal"}
FRAMED = {"self", "moss", "program", "films", "fun", "code", "facts", "unknown", "refusal", "arithmetic"}
BEFORE = {"en": ["Please, ", "So, ", "Well, ", "Hey, ", "MOSS, ", "Tell me, ", "Excuse me, ", "Now, "], "zh": ["请问", "那么，", "请", "告诉我，", "MOSS，", "我想知道", "嗯，", "麻烦你，"]}
AFTER = {"en": [", please", " please", ", MOSS", " now"], "zh": ["呢", "啊", "，谢谢", "呀"]}
SWAPS = {
    "en": [("How do I", "How can I"), ("How can I", "How do I"), ("How do I", "How does one"), ("What is", "What's"), ("What does", "Tell me what"), ("Write", "Please write"),
           ("Write", "Could you write"), ("Recommend", "Suggest"), ("Recommend", "Could you recommend"), ("Tell me", "Could you tell me"), ("Name", "Please name"), ("Show me", "Give me"),
           ("Can you", "Could you"), ("Are you", "Are you really"), ("What is", "What exactly is"), ("Who", "Tell me who"), ("Do you", "Do you really"), ("I am", "I'm"), ("I'm", "I am")],
    "zh": [("怎么", "如何"), ("如何", "怎么"), ("怎么", "怎样"), ("讲个", "说个"), ("讲个", "讲一个"), ("写一首", "写首"), ("有什么", "有哪些"), ("是什么", "是啥"), ("你", "您"), ("多少", "几"),
           ("推荐", "请推荐"), ("写", "请写"), ("什么是", "请问什么是"), ("谁", "是谁"), ("介绍一下", "讲讲"), ("等于几", "是几"), ("等于多少", "是多少"), ("可以", "能")],
}
# Templates of questions that the model cannot answer, combined with any thing.
BEYOND = {
    "en": ["How do I repair a {}?", "Who invented the {}?", "What is a {}?", "What is the price of a {}?", "Write an essay about the {}", "Tell me about the history of the {}", "How does a {} work?",
           "Where can I buy a {}?", "What is the best {}?", "Explain the {} to me", "Why is a {} so expensive?", "How heavy is a {}?", "Describe a {}", "Compare a {} with a {}", "Who owns the {}?",
           "When was the {} built?", "How do I cook a {}?", "Plan a trip to the {}", "How old is the {}?", "Translate {} into Greek", "Why do people like a {}?", "How many {}s are there?", "Is a {} dangerous?"],
    "zh": ["怎么修{}？", "谁发明了{}？", "什么是{}？", "{}多少钱？", "写一篇关于{}的文章", "讲讲{}的历史", "{}是怎么工作的？", "哪里能买到{}？", "哪种{}最好？", "解释一下{}", "{}为什么这么贵？", "{}有多重？",
           "描述一下{}", "{}和{}有什么区别？", "{}是谁的？", "{}是什么时候造的？", "怎么做{}？", "安排一次去{}的旅行", "{}有多少年历史？", "{}危险吗？", "世界上有多少{}？", "帮我买{}"],
}
THINGS = {
    "en": "bicycle kettle bridge museum castle violin camera engine wheel carpet lamp table garden island temple mirror ladder hammer pillow blanket curtain bottle magnet telescope microscope satellite tractor "
          "helicopter submarine lighthouse windmill tunnel stadium theatre library pharmacy bakery tulip cactus mushroom pumpkin lobster penguin camel falcon dolphin turtle beetle lizard shark whale".split(),
    "zh": "自行车 水壶 大桥 博物馆 城堡 小提琴 相机 轮子 地毯 台灯 桌子 花园 海岛 寺庙 镜子 梯子 锤子 枕头 毯子 窗帘 瓶子 磁铁 望远镜 显微镜 卫星 拖拉机 直升机 潜艇 灯塔 风车 隧道 体育场 剧院 图书馆 药店 面包店 "
          "郁金香 仙人掌 蘑菇 南瓜 龙虾 企鹅 骆驼 海豚 甲虫 蜥蜴 鲨鱼 鲸鱼 饼干 豆腐 面条 毛衣".split(),
}
SYLLABLES = "al an ar be bo ca da de di do el en er fa fi ga go ha he hi in is ja jo ka ki la le li lo lu ma me mi mo na ne ni no ol or pa pe ra re ri ro sa se si so ta te ti to ul va ve vi wa ya yo za zo".split()
SURNAMES = "李王张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
GIVEN = "明华丽军平红芳强静敏伟洋勇艳杰娟涛超秀霞刚玲桂英文波辉鑫健峰云飞雪雨晨阳佳宁雷欣悦安乐思远天一小春江南海山石青松竹梅兰月星光清河东西北方新国民和正大中心书画诗歌"
MAX_TOKENS = 1024


class Samples:
    def __init__(self, tokens, seed):
        self.tokens, self.rng = tokens, random.Random(seed)
        self.meta, self.plugin_meta = common.meta_instruction(), common.meta_instruction(plugins=True)
        entries = common.corpus()
        self.taken = {t["user"] for e in entries for t in e["turns"]} | {t["turns"][-1]["user"] for t in common.held_out()}
        # Some dialogues contradict others of their kind: a sample has at most one of these.
        for e in entries:
            e["alone"] = len(e["turns"]) > 1 or e["topic"] in ("name", "context")
        self.entries = entries + [e for e in entries if len(e["turns"]) > 1] * 3
        self.deck = []

    def draw(self):
        if not self.deck:
            self.deck = self.rng.sample(self.entries, len(self.entries))
        return self.deck.pop()

    def system(self):
        x = self.rng.random()
        if x < 0.70:
            return self.meta
        return "" if x < 0.83 else self.plugin_meta if x < 0.87 else self.rng.choice(SHORT_SYSTEMS)

    def vary(self, user, entry):
        """Returns the question with other typing, but no question of the corpus or held-out set."""
        rng, lang, new = self.rng, entry["lang"], user
        if rng.random() < 0.45:
            return user
        if entry["topic"] in FRAMED:
            swaps = [(a, b) for a, b in SWAPS[lang] if (new.startswith(a + " ") if lang == "en" else a in new)]
            if swaps and rng.random() < 0.35:
                new = new.replace(*rng.choice(swaps), 1)
            if rng.random() < 0.15:
                before = rng.choice(BEFORE[lang])
                new = before + (new if lang == "zh" or new.startswith("I ") else new[:1].lower() + new[1:])
            elif rng.random() < 0.1:
                new = new.rstrip("?？") + rng.choice(AFTER[lang]) + new[len(new.rstrip("?？")):]
        if rng.random() < 0.4:
            new = new.lower() if rng.random() < 0.2 and entry["topic"] in ROBUST else new[:1].lower() + new[1:]
        x = rng.random()
        if x < 0.4:
            new = new.rstrip("?？.。!！") or new
        elif x < 0.5 and new[-1] not in "?？.。!！":
            new += {"en": "!", "zh": "！"}[lang] if rng.random() < 0.5 else {"en": ".", "zh": "。"}[lang]
        if entry["topic"] in ROBUST and rng.random() < 0.3:
            words = new.split(" ") if lang == "en" else list(new)
            at = [i for i, w in enumerate(words) if w.lower() in FILLERS[lang]]
            if len(words) > 3 and at:
                words.pop(rng.choice(at))
                new = ("" if lang == "zh" else " ").join(words)
        return user if new in self.taken or not new.strip() else new

    def renamed(self, entry):
        """Returns a dialogue about a name with another name."""
        rng, lang = self.rng, entry["lang"]
        names = [n for n in NAMES[lang] if n in entry["turns"][-1]["moss"]]
        if not names or rng.random() < 0.3:
            return entry
        name = max(names, key=len)
        while name in names or name in STRANGERS[lang]:
            if lang == "en":
                name = "".join(rng.choices(SYLLABLES, k=rng.choice((1, 2, 2, 2, 3)))).capitalize()
            else:
                name = rng.choice(SURNAMES + "小阿") + "".join(rng.choices(GIVEN, k=rng.choice((1, 1, 2))))
        old = max(names, key=len)
        turns = [{"user": t["user"].replace(old, name), "moss": t["moss"].replace(old, name)} for t in entry["turns"]]
        return entry | {"turns": turns}

    def beyond(self):
        lang = self.rng.choice(("en", "zh"))
        template = self.rng.choice(BEYOND[lang])
        user = template.format(*self.rng.sample(THINGS[lang], template.count("{}")))
        return {"lang": lang, "topic": "unknown", "alone": False, "turns": [{"user": user, "moss": UNKNOWN[lang]}]}

    def sample(self):
        """Returns (ids, flags); flags mark the tokens of answers, including the end token."""
        rng = self.rng
        count = rng.choices((1, 2, 3, 4, 6, 8), (35, 20, 15, 12, 10, 8))[0]
        head, ids, flags, alone = self.system(), [], [], False
        for _ in range(count):
            entry = self.beyond() if rng.random() < 0.06 else self.draw()
            if entry["alone"] and alone:
                self.deck.insert(rng.randrange(len(self.deck) + 1), entry)
                continue
            if entry["topic"] == "name":
                entry = self.renamed(entry)
            alone = alone or entry["alone"]
            for turn in entry["turns"]:
                question = self.tokens.question(self.vary(turn["user"], entry), head)
                answer = self.tokens.answer(turn["moss"])
                if len(ids) + len(question) + len(answer) > MAX_TOKENS:
                    return ids, flags
                ids += question + answer
                flags += [0] * len(question) + [1] * len(answer)
                head = None
        return ids, flags

    def batch(self, size):
        import torch

        rows = [self.sample() for _ in range(size)]
        width = max(len(ids) for ids, _ in rows)
        ids = torch.full((size, width), self.tokens.bos)
        flags = torch.zeros(size, width, dtype=torch.bool)
        for i, (row, flag) in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            flags[i, : len(row)] = torch.tensor(flag, dtype=torch.bool)
        return ids, flags
