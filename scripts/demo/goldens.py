"""Writes tests/fixtures/demo/golden.json: replies of the demo models with greedy decoding, in fp32
on the CPU.

The reference is CodeGenForCausalLM.generate with the weights of the checkpoint. Prompts are left
out if the two best logits of any step differ by less than 0.02.

Usage: goldens.py [OUT.json]
"""
import pathlib
import sys

import torch

import common

OUT = common.ROOT / "tests" / "fixtures" / "demo" / "golden.json"
CLOSEST = 0.02
PENALTIES = (1.0, 1.02)
SHORT, CHINESE = "You are a helpful assistant.\n", "请简短回答。\n"

# System prompt (None: the meta instruction), user turns; earlier turns get the corpus's answers.
PROMPTS = [
    (None, "你好"), (None, "推荐五部科幻电影"), (None, "Hi there"), (None, "Recommend five sci-fi films"), (None, "你是谁"), (None, "Who are you?"),
    (None, "What is 3 + 4?"), (None, "7 × 8 等于几？"), (None, "What is the capital of Japan?"), (None, "法国的首都是哪里？"), (None, "Tell me a joke"), (None, "写一首诗"),
    (None, "Write a Python function that adds two numbers"), (None, "Send me an emoji"), (None, "Who painted the Mona Lisa?"), (None, "秦始皇是谁？"), (None, "How do I quit?"), (None, "有哪些命令？"),
    (None, "What time is it?"), (None, "谢谢"), ("", "你好"), ("", "Hi there"), ("", "Write a Python function"), (SHORT, "Who are you?"), (SHORT, "Name the planets"), (CHINESE, "八大行星是什么？"),
    (None, "Tell me a joke", "Another one"), (None, "讲个笑话", "再来一个", "还有吗？"), (None, "推荐五部科幻电影", "先看哪一部？", "导演是谁？", "谢谢"),
    (None, "Recommend five sci-fi films", "Which one is the oldest?", "And which one is the newest?"), (None, "My favourite colour is blue", "What is my favourite colour?"), (None, "我最喜欢红色", "我最喜欢什么颜色？"),
    (None, "Hi there", "What can you do?", "Tell me a joke", "Thank you", "Goodbye"), ("", "你好", "推荐五部科幻电影", "谢谢", "再见"), (None, "Tell me who you are"), (None, "请给我讲一个笑话"),
]


def answer_of(users):
    """Returns the corpus's answer to the last of `users`, preferably after all of them."""
    for e in sorted(common.corpus(), key=lambda e: -len(e["turns"])):
        if [t["user"] for t in e["turns"]][: len(users)] == list(users):
            return e["turns"][len(users) - 1]["moss"]
    assert len(users) > 1, users
    return answer_of(users[-1:])


def conversation(tokens, system, users):
    """Returns the prompt as ids and as the pieces, which are encoded separately."""
    head, ids, pieces = common.meta_instruction() if system is None else system, [], []
    for k, user in enumerate(users):
        ids += tokens.question(user, head)
        pieces += [("\n" if head is None else head) + "<|Human|>: " + user, "<eoh>", "\n<|MOSS|>:"]
        if k + 1 < len(users):
            answer = answer_of(users[: k + 1])
            ids += tokens.answer(answer)
            pieces += [" " + answer, "<eom>"]
        head = None
    return ids, pieces


@torch.no_grad()
def greedy(model, tokens, ids, penalty):
    done = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False, max_new_tokens=180, repetition_penalty=penalty,
                          eos_token_id=tokens.eom, pad_token_id=tokens.bos, return_dict_in_generate=True, output_scores=True)
    gaps = [(best[0] - best[1]).item() for best in (s[0].topk(2).values for s in done.scores)]
    new = done.sequences[0, len(ids) :].tolist()
    return {"repetition_penalty": penalty, "ids": new, "text": tokens.decode(new), "min_gap": round(min(gaps), 4)}


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    tokens = common.Tokens(common.FP16)
    models = {folder.name: common.load(folder) for folder in (common.FP16, common.INT4)}
    cases, dropped = [], []
    for system, *users in PROMPTS:
        ids, pieces = conversation(tokens, system, users)
        expected = [{"model": name, **greedy(model, tokens, ids, p)} for name, model in models.items() for p in PENALTIES]
        closest = min(e["min_gap"] for e in expected)
        ended = all(e["ids"][-1] == tokens.eom for e in expected)
        if closest > CLOSEST and ended:
            cases.append({"system": "meta" if system is None else system, "user": users, "pieces": pieces, "prompt_ids": ids, "expected": expected})
        else:
            dropped.append((users, closest))
    out.parent.mkdir(parents=True, exist_ok=True)
    note = "Greedy answers of the demo models in fp32; see scripts/demo/goldens.py. `system` meta: the meta instruction without its plugin switches."
    common.write_compact(out, {"note": note, "models": list(models), "eos": tokens.eom, "cases": cases})
    for c in cases[:8]:
        print(c["user"], "->", c["expected"][1]["text"])
    print(f"{len(cases)} cases, smallest gap {min(e['min_gap'] for c in cases for e in c['expected'])}; dropped {dropped}")


if __name__ == "__main__":
    main()
