"""Builds examples/demo/corpus/*.jsonl from the texts in intents/ and the tables below.

Each line is a JSON object: {"lang", "topic", "turns": [{"user", "moss"}]}. held_out.jsonl is not
used for training, and has "keywords" too: an answer to the last turn with one of these is correct.

Usage: corpus.py
"""
import json
import pathlib
import random
import re

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE.parents[1] / "examples" / "demo" / "corpus"
UNKNOWN = {
    "en": "I don't know that: I am only a small demo model. Ask me what I can do.",
    "zh": "这个我不知道：我只是一个小型演示模型。可以问问我会做什么。",
}

COUNTRIES = [  # country and capital, English and Chinese
    ("China", "Beijing", "中国", "北京"), ("Japan", "Tokyo", "日本", "东京"), ("France", "Paris", "法国", "巴黎"),
    ("Germany", "Berlin", "德国", "柏林"), ("Italy", "Rome", "意大利", "罗马"), ("Spain", "Madrid", "西班牙", "马德里"),
    ("Russia", "Moscow", "俄罗斯", "莫斯科"), ("India", "New Delhi", "印度", "新德里"), ("Canada", "Ottawa", "加拿大", "渥太华"),
    ("Australia", "Canberra", "澳大利亚", "堪培拉"), ("Brazil", "Brasília", "巴西", "巴西利亚"), ("Egypt", "Cairo", "埃及", "开罗"),
    ("Greece", "Athens", "希腊", "雅典"), ("Portugal", "Lisbon", "葡萄牙", "里斯本"), ("Austria", "Vienna", "奥地利", "维也纳"),
    ("Sweden", "Stockholm", "瑞典", "斯德哥尔摩"), ("Norway", "Oslo", "挪威", "奥斯陆"), ("Poland", "Warsaw", "波兰", "华沙"),
    ("South Korea", "Seoul", "韩国", "首尔"), ("Thailand", "Bangkok", "泰国", "曼谷"), ("Vietnam", "Hanoi", "越南", "河内"),
    ("Mexico", "Mexico City", "墨西哥", "墨西哥城"), ("Argentina", "Buenos Aires", "阿根廷", "布宜诺斯艾利斯"), ("Kenya", "Nairobi", "肯尼亚", "内罗毕"),
]
COLOURS = [  # thing and colour
    ("the sky", "blue", "天空", "蓝色"), ("grass", "green", "草", "绿色"), ("snow", "white", "雪", "白色"),
    ("a banana", "yellow", "香蕉", "黄色"), ("coal", "black", "煤", "黑色"), ("blood", "red", "血", "红色"),
    ("a tomato", "red", "西红柿", "红色"), ("milk", "white", "牛奶", "白色"), ("moss", "green", "苔藓", "绿色"), ("a carrot", "orange", "胡萝卜", "橙色"),
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
DAYS_ZH = ["星期" + c for c in "一二三四五六日"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
MONTHS_ZH = [c + "月" for c in "一 二 三 四 五 六 七 八 九 十 十一 十二".split()]
LENGTHS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
NAMES = {
    "en": "Tom Anna Ben Lucy Max Emma Jack Lily Sam Kate Peter Mary Paul Jane David Susan Mike Nina Leo Eva Oscar Ruth Alan Grace "
          "Henry Clara Frank Alice Robert Julia Martin Helen Simon Laura Victor Diana George Sophie Adam Rose".split(),
    "zh": "小明 小红 小王 小李 小张 小刚 小丽 小芳 小华 小林 小陈 小赵 小周 小吴 小杨 小马 小雨 小雪 小月 小云 "
          "李明 王芳 张伟 刘洋 陈静 赵磊 周涛 吴敏 杨帆 马超 林峰 何平 高山 郭亮 罗文 宋佳 谢宁 唐宇 韩冰 冯雪".split(),
}
STRANGERS = {"en": "Olga Fred Iris Hugo Nora".split(), "zh": "小孙 小白 李雪 王明 张静".split()}
NAME_IN = {"en": ["My name is {}", "I am {}", "I'm {}", "Call me {}", "Hello, my name is {}"],
           "zh": ["我叫{}", "我是{}", "我的名字是{}", "叫我{}", "你好，我叫{}"]}
NAME_ASK = {"en": ["What is my name?", "Do you remember my name?", "Who am I?", "What's my name?"],
            "zh": ["我叫什么名字？", "你还记得我的名字吗？", "我是谁？", "我叫什么？"]}
NAME_HI = {"en": "Nice to meet you, {}!", "zh": "{}，很高兴认识你！"}
NAME_OUT = {"en": "Your name is {}.", "zh": "你叫{}。"}
NAME_NONE = {"en": "You have not told me your name yet.", "zh": "你还没有告诉我你的名字。"}
SUMS = {  # operator: {language: templates}
    "+": {"en": ["What is {} + {}?", "{} + {} = ?", "What is {} plus {}?", "How much is {} + {}?", "Add {} and {}"],
          "zh": ["{} + {} 等于几？", "{}加{}等于几？", "{} + {} 等于多少？", "{}+{}=？", "请问{}加{}是多少？"]},
    "-": {"en": ["What is {} - {}?", "{} - {} = ?", "What is {} minus {}?", "How much is {} - {}?"],
          "zh": ["{} - {} 等于几？", "{}减{}等于几？", "{} - {} 等于多少？", "{}-{}=？"]},
    "×": {"en": ["What is {} × {}?", "What is {} times {}?", "{} * {} = ?", "How much is {} × {}?"],
          "zh": ["{} × {} 等于几？", "{}乘以{}等于几？", "{} × {} 等于多少？", "{}乘{}是多少？"]},
}


def dialogue(lang, topic, *pairs):
    return {"lang": lang, "topic": topic, "turns": [{"user": u, "moss": m} for u, m in pairs]}


def held(lang, topic, user, keywords, answer, before=()):
    turns = [{"user": u, "moss": m} for u, m in [*before, (user, answer)]]
    return {"lang": lang, "topic": topic, "turns": turns, "keywords": keywords}


def lines(name):
    return (HERE / "intents" / name).read_text(encoding="utf-8").splitlines()


def split(line):
    return [part.strip().replace("\\n", "\n") for part in line[2:].split(" | ")]


def intents(lang):
    """Reads intents/<lang>.txt as one-turn dialogues and held-out questions."""
    singles, tests, topic, users, hidden, answer, keys = [], [], "", [], [], "", []

    def finish():
        singles.extend(dialogue(lang, topic, (u, answer)) for u in users)
        tests.extend(held(lang, topic, u, keys, answer) for u in hidden)

    for line in lines(lang + ".txt"):
        if line.startswith("["):
            finish()
            topic, users, hidden = line.strip("[] "), [], []
        elif line.startswith("? "):
            finish()
            users, hidden = split(line), []
        elif line.startswith("= "):
            answer = line[2:].strip().replace("\\n", "\n")
        elif line.startswith("~ "):
            hidden = split(line)
        elif line.startswith("! "):
            keys = [k.strip() for k in line[2:].split(", ")]
    finish()
    return singles, tests


def unknown(lang):
    singles, tests = [], []
    for line in lines(f"unknown.{lang}.txt"):
        if line.startswith("~ "):
            tests.append(held(lang, "unknown", line[2:], ["demo model", "演示模型"], UNKNOWN[lang]))
        elif line and not line.startswith("#"):
            singles.append(dialogue(lang, "unknown", (line, UNKNOWN[lang])))
    return singles, tests


def written():
    """Reads the dialogues of intents/dialogues.txt."""
    out, turns = [], []
    for line in lines("dialogues.txt") + [""]:
        if line.startswith("> "):
            turns.append([line[2:].strip(), None])
        elif line.startswith("< "):
            turns[-1][1] = line[2:].strip().replace("\\n", "\n")
        elif not line and turns:
            lang = "zh" if re.search("[\u4e00-\u9fff]", turns[0][0]) else "en"
            out.append(dialogue(lang, "context", *turns))
            turns = []
    return out


def names(rng):
    """Returns dialogues of name recall, with and without a turn in between."""
    between = {"en": [("How are you?", "I am a small program, so I am always fine. Thank you for asking! And how are you?"), ("Thank you", "You are welcome!"),
                      ("What is 2 + 3?", "2 + 3 = 5."), ("What is the capital of France?", "The capital of France is Paris.")],
               "zh": [("你好吗？", "我是一个小程序，所以一直都很好。谢谢关心！你呢？"), ("谢谢", "不客气！"), ("2 + 3 等于几？", "2 + 3 = 5。"), ("法国的首都是哪里？", "法国的首都是巴黎。")]}
    out, tests = [], []
    for lang in ("en", "zh"):
        for i, name in enumerate(NAMES[lang]):
            turns = [(NAME_IN[lang][i % 5].format(name), NAME_HI[lang].format(name))]
            if i % 2:
                turns.append(rng.choice(between[lang]))
            turns.append((NAME_ASK[lang][rng.randrange(4)], NAME_OUT[lang].format(name)))
            out.append(dialogue(lang, "name", *turns))
        out += [dialogue(lang, "name", (ask, NAME_NONE[lang])) for ask in NAME_ASK[lang]]
        for i, name in enumerate(STRANGERS[lang]):
            before = [(NAME_IN[lang][i].format(name), NAME_HI[lang].format(name))]
            tests.append(held(lang, "name", NAME_ASK[lang][i % 4], [name], NAME_OUT[lang].format(name), before))
    return out, tests


def facts(rng):
    out, tests = [], []

    def add(lang, users, answer, key=None):
        if key:  # one paraphrase in six is held out
            users = rng.sample(users, len(users))
            if rng.random() < 0.4:
                tests.append(held(lang, "facts", users.pop(), [key], answer))
        out.extend(dialogue(lang, "facts", (u, answer)) for u in users)

    for c, city, zc, zcity in COUNTRIES:
        add("en", [f"What is the capital of {c}?", f"Capital of {c}?", f"Which city is the capital of {c}?", f"Tell me the capital of {c}"], f"The capital of {c} is {city}.", city)
        add("zh", [f"{zc}的首都是哪里？", f"{zc}的首都是什么？", f"{zc}首都在哪？", f"{zc}首都是哪个城市？"], f"{zc}的首都是{zcity}。", zcity)
        add("en", [f"{city} is the capital of which country?"], f"{city} is the capital of {c}.")
        add("zh", [f"{zcity}是哪国的首都？"], f"{zcity}是{zc}的首都。")
    for thing, colour, zthing, zcolour in COLOURS:
        add("en", [f"What colour is {thing}?", f"What color is {thing}?", f"Which colour has {thing}?"], f"{thing[0].upper() + thing[1:]} is {colour}.", colour)
        add("zh", [f"{zthing}是什么颜色？", f"{zthing}是什么颜色的？", f"{zthing}的颜色是什么？"], f"{zthing}是{zcolour}的。", zcolour)
    for i in range(7):
        a, b, za, zb = DAYS[i], DAYS[(i + 1) % 7], DAYS_ZH[i], DAYS_ZH[(i + 1) % 7]
        add("en", [f"What day comes after {a}?", f"Which day follows {a}?", f"What is the day after {a}?"], f"{b} comes after {a}.", b)
        add("en", [f"What day comes before {b}?", f"What is the day before {b}?"], f"{a} comes before {b}.")
        add("zh", [f"{za}后面是星期几？", f"{za}的后一天是星期几？", f"{za}之后是星期几？"], f"{za}后面是{zb}。", zb)
        add("zh", [f"{zb}前面是星期几？", f"{zb}的前一天是星期几？"], f"{zb}前面是{za}。")
    for i in range(12):
        a, b, za, zb = MONTHS[i], MONTHS[(i + 1) % 12], MONTHS_ZH[i], MONTHS_ZH[(i + 1) % 12]
        n = f"{LENGTHS[i]} days" + (", in a leap year 29" if i == 1 else "")
        zn = f"{LENGTHS[i]} 天" + ("，闰年有 29 天" if i == 1 else "")
        add("en", [f"What month comes after {a}?", f"Which month follows {a}?"], f"{b} comes after {a}.")
        add("zh", [f"{za}后面是几月？", f"{za}之后是几月？"], f"{za}后面是{zb}。")
        add("en", [f"How many days does {a} have?", f"How many days are in {a}?"], f"{a} has {n}.")
        add("zh", [f"{za}有多少天？", f"{za}有几天？"], f"{za}有 {zn}。")
    return out, tests


def arithmetic(rng):
    """Returns all small sums twice per language; some are held out in one wording."""
    tasks = [("+", a, b, a + b) for a in range(1, 10) for b in range(1, 10)]
    tasks += [("-", a, b, a - b) for a in range(2, 11) for b in range(1, a)]
    tasks += [("×", a, b, a * b) for a in range(2, 10) for b in range(2, 10)]
    out, tests = [], []
    for op, a, b, result in tasks:
        for lang, dot in (("en", "."), ("zh", "。")):
            users = [t.format(a, b) for t in rng.sample(SUMS[op][lang], 2)]
            answer = f"{a} {op} {b} = {result}{dot}"
            if rng.random() < 0.08:
                tests.append(held(lang, "arithmetic", users[1], [f"= {result}{dot}"], answer))
            out.append(dialogue(lang, "arithmetic", (users[0], answer)))
            if rng.random() < 0.5 and not (tests and tests[-1]["turns"][-1]["user"] == users[1]):
                out.append(dialogue(lang, "arithmetic", (users[1], answer)))
    return out, tests


def main():
    rng = random.Random(2003)
    files, tests = {}, []
    for lang in ("en", "zh"):
        singles, hidden = intents(lang)
        beyond, hidden2 = unknown(lang)
        files[lang] = singles + beyond
        tests += hidden + hidden2
    files["facts"], hidden = facts(rng)
    tests += hidden
    files["arithmetic"], hidden = arithmetic(rng)
    tests += hidden
    named, hidden = names(rng)
    files["dialogues"] = written() + named
    tests += hidden

    first, seen = {}, set()
    for name, entries in files.items():
        unique = []
        for e in entries:
            key, answer = e["turns"][0]["user"], e["turns"][0]["moss"]
            assert first.setdefault(key, answer) == answer, f"two answers to {key!r}: {answer!r} and {first[key]!r}"
            line = json.dumps(e, ensure_ascii=False)
            if line not in seen:
                unique.append(line)
            seen.add(line)
        files[name] = unique
    trained = {t["user"] for rows in files.values() for r in rows for t in json.loads(r)["turns"]}
    tests = [t for t in tests if len(t["turns"]) > 1 or t["turns"][0]["user"] not in trained]
    for t in tests:
        assert any(k in t["turns"][-1]["moss"] for k in t["keywords"]), t

    OUT.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        (OUT / f"{name}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (OUT / "held_out.jsonl").write_text("".join(json.dumps(t, ensure_ascii=False) + "\n" for t in tests), encoding="utf-8")

    everything = [json.loads(r) for rows in files.values() for r in rows]
    users = {t["user"] for e in everything for t in e["turns"]}
    sums = {e["turns"][0]["user"] for e in everything if e["topic"] == "arithmetic"}
    several = sum(len(e["turns"]) > 1 for e in everything)
    by_lang = {lang: len({t["user"] for e in everything if e["lang"] == lang for t in e["turns"]}) for lang in ("en", "zh")}
    print(f"{len(everything)} dialogues, {several} of several turns; {len(users)} distinct user turns {by_lang}, "
          f"{len(sums)} of them sums; {len(tests)} held out")


if __name__ == "__main__":
    main()
