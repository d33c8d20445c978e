"""Measures the accuracy of the demo models: exact answers of the corpus, and held-out questions by
keyword.

The prompts contain the correct answers of the earlier turns, with the full meta instruction and
without a system prompt. Answers are generated with greedy decoding at repetition penalty 1.02, then
again with the sampling parameters of chat. Exits with 1 if the greedy accuracy is below 99 % (fp16)
or 97 % (int4).

Usage: check.py [--wrong 20]
"""
import argparse
import json
import sys
import time

import torch

import common

CHAT = {"do_sample": True, "temperature": 0.7, "top_k": 40, "top_p": 0.8}


@torch.no_grad()
def answers(model, tokens, prompts, size=512, **how):
    """Returns the reply to each prompt, or None if it has no end token."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    out = [None] * len(prompts)
    device = next(model.parameters()).device
    for at in range(0, len(order), size):
        part = order[at : at + size]
        width = max(len(prompts[i]) for i in part)
        ids = torch.tensor([[tokens.bos] * (width - len(prompts[i])) + prompts[i] for i in part], device=device)
        mask = torch.tensor([[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in part], device=device)
        done = model.generate(ids, attention_mask=mask, max_new_tokens=180, repetition_penalty=1.02, pad_token_id=tokens.bos, eos_token_id=tokens.eom, **(how or {"do_sample": False}))
        for i, row in zip(part, done[:, width:].tolist()):
            out[i] = tokens.decode(row[: row.index(tokens.eom)]).removeprefix(" ") if tokens.eom in row else None
    return out


def questions(tokens, system):
    """Yields (prompt, expected answer, topic, user text) of every answer in the corpus."""
    seen, out = set(), []
    for e in common.corpus():
        for k, turn in enumerate(e["turns"]):
            key = json.dumps(e["turns"][: k + 1])
            if key not in seen:
                seen.add(key)
                out.append((tokens.prompt(e["turns"][:k], turn["user"], system), turn["moss"], e["topic"], turn["user"]))
    return out


def share(name, hits, show=()):
    print(f"{name}: {sum(hits)} of {len(hits)} = {100 * sum(hits) / len(hits):.2f} %")
    for line in show:
        print("   ", line)
    return sum(hits) / len(hits)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--wrong", type=int, default=20)
    a = ap.parse_args()
    torch.manual_seed(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    good = True
    for folder, least in ((common.FP16, 0.99), (common.INT4, 0.97)):
        start = time.time()
        tokens = common.Tokens(folder)
        model = common.load(folder).to(device)
        print(f"== {folder.name}")
        for name, system in (("with the meta instruction", common.meta_instruction()), ("without a system text", "")):
            asked = questions(tokens, system)
            got = answers(model, tokens, [q[0] for q in asked])
            hits = [g == q[1] for g, q in zip(got, asked)]
            wrong = [f"{q[3]!r}: {g!r}" for g, q in zip(got, asked) if g != q[1]]
            good &= share(f"corpus, {name}", hits, wrong[: a.wrong]) >= least
            if system:
                got = answers(model, tokens, [q[0] for q in asked], **CHAT)
                share("corpus, drawn at the chat settings", [g == q[1] for g, q in zip(got, asked)])
        tests = common.held_out()
        got = answers(model, tokens, [tokens.prompt(t["turns"][:-1], t["turns"][-1]["user"], common.meta_instruction()) for t in tests])
        hits = [g is not None and any(k in g for k in t["keywords"]) for g, t in zip(got, tests)]
        wrong = [f"{t['turns'][-1]['user']!r}: {g!r}" for g, t, hit in zip(got, tests, hits) if not hit]
        share("held out, by keyword", hits, wrong[: 5 * a.wrong])
        for topic in sorted({t["topic"] for t in tests}):
            share(f"  {topic}", [h for h, t in zip(hits, tests) if t["topic"] == topic])
        share("held out, ended by itself", [g is not None for g in got])
        print(f"{time.time() - start:.0f} s", flush=True)
    sys.exit(not good)


if __name__ == "__main__":
    main()
