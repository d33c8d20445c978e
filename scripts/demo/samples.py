"""Training samples: a system text and one or more dialogues of the corpus in a row, slightly varied."""
import random

import common

SHORT_SYSTEMS = ["You are a helpful assistant.\n", "You are a friendly chatbot.\n", "Answer briefly.\n", "You are a small demo model.\n", "Be polite.\n",
                 "你是一个有用的助手。\n", "请简短回答。\n", "你是一个友好的聊天机器人。\n"]
FILLERS = {"en": "the a an is do can you i please me to of some".split(), "zh": list("的吗一个请我你是了有")}
ROBUST = {"greeting", "thanks", "bye", "self", "moss", "program", "films", "fun", "code", "refusal"}
MAX_TOKENS = 1024


class Samples:
    def __init__(self, tokens, seed):
        self.tokens, self.rng = tokens, random.Random(seed)
        self.meta, self.plugin_meta = common.meta_instruction(), common.meta_instruction(plugins=True)
        entries = common.corpus()
        self.taken = {t["user"] for e in entries for t in e["turns"]} | {t["user"] for t in common.held_out()}
        # Some dialogues only hold if nothing like them came before: at most one of these goes into a sample.
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
        """The same question typed a little differently; never one that stands in the corpus or among the held-out ones."""
        rng, lang, new = self.rng, entry["lang"], user
        if rng.random() < 0.55:
            return user
        if rng.random() < 0.5:
            new = new[:1].lower() + new[1:]
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

    def sample(self):
        """(ids, flags): a flag marks each token of an answer, the end token included."""
        rng = self.rng
        count = rng.choices((1, 2, 3, 4, 6, 8), (35, 20, 15, 12, 10, 8))[0]
        head, ids, flags, alone = self.system(), [], [], False
        for _ in range(count):
            entry = self.draw()
            if entry["alone"] and alone:
                self.deck.insert(rng.randrange(len(self.deck) + 1), entry)
                continue
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
