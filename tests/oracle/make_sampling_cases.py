"""Writes sampling_cases.json.

Each case has a small vector of logits, the tokens seen so far, the sampling settings, and the
probabilities that remain after the logits processors of transformers: repetition penalty,
temperature, top-k, top-p, in this order, then softmax.

Usage: make_sampling_cases.py OUT.json [--seed N] [--count N]
"""

import argparse
import json
import random

import torch

from make_models import margin, sampled


def case(name, logits, history, params):
    scores = torch.tensor(logits, dtype=torch.float32)
    context = torch.tensor(history, dtype=torch.long)
    return {
        "name": name,
        "logits": [float(x) for x in scores],
        "history": history,
        **params,
        "kept": sampled(context, scores, params),
    }


def settings(penalty=1.0, t=1.0, k=0, p=1.0):
    return {"repetition_penalty": penalty, "temperature": t, "top_k": k, "top_p": p}


CHAT = settings(penalty=1.02, t=0.7, k=40, p=0.8)
NAMED = [
    ("nothing applied", [0.5, -1.0, 2.0, 0.0], [0], settings()),
    (
        "penalty divides positive, multiplies negative, leaves zero",
        [2.0, -2.0, 0.0, 1.0],
        [0, 1, 2],
        settings(penalty=1.5),
    ),
    (
        "a token seen three times is penalised once",
        [2.0, 1.9, -1.0],
        [0, 0, 0, 2, 2],
        settings(penalty=1.2),
    ),
    ("penalty below one", [2.0, 1.9, -1.0], [1, 2], settings(penalty=0.8)),
    ("low temperature", [1.0, 0.9, 0.0, -3.0], [3], settings(t=0.1)),
    ("high temperature", [1.0, 0.9, 0.0, -3.0], [3], settings(t=4.0)),
    ("top-k of one", [0.3, 0.2, 0.9, 0.1], [0], settings(k=1)),
    ("top-k larger than the vocabulary", [0.3, 0.2, 0.9, 0.1], [0], settings(k=40)),
    ("ties at the top-k border are all kept", [1.0, 2.0, 1.0, 1.0, 0.0], [4], settings(k=2)),
    ("top-p keeps at least the best token", [9.0, 1.0, 0.0, -1.0], [3], settings(p=0.1)),
    (
        "top-p keeps the token that crosses the border",
        [2.0, 1.5, 1.0, 0.5, 0.0],
        [4],
        settings(p=0.6),
    ),
    (
        "top-p is taken after top-k",
        [2.0, 1.9, 1.8, 1.7, 1.6, 1.5],
        [5],
        settings(k=3, p=0.7),
    ),
    (
        "top-p is taken after the temperature",
        [2.0, 1.5, 1.0, 0.5, 0.0],
        [4],
        settings(t=0.3, p=0.8),
    ),
    (
        "the penalty is taken before the temperature",
        [2.0, 1.8, -0.5, 0.1],
        [0, 2],
        settings(penalty=1.3, t=0.5),
    ),
    ("large logits", [900.0, 899.0, 880.0, -900.0], [0], CHAT),
    ("one token", [0.7], [0], CHAT),
    ("empty history", [0.7, 0.9, -0.1], [], settings(penalty=1.3, t=0.7, k=2)),
]


def random_cases(seed, count):
    """Yields `count` random cases whose filters do not depend on the last digits of a score."""
    rng = random.Random(seed)
    while count > 0:
        n = rng.choice([5, 17, 64, 128])
        spread = rng.choice([1.0, 2.5, 5.0])
        logits = [round(rng.gauss(0, spread), 3) for _ in range(n)]
        history = [rng.randrange(n) for _ in range(rng.randrange(0, 12))]
        params = settings(
            rng.choice([1.0, 1.02, 1.1, 1.3, 0.9]),
            rng.choice([0.3, 0.7, 1.0, 1.5]),
            rng.choice([0, 1, 3, 10, 40]),
            rng.choice([0.3, 0.8, 0.95, 1.0]),
        )
        if margin(torch.tensor(history, dtype=torch.long), torch.tensor(logits), params) < 1e-3:
            continue
        yield case("random", logits, history, params)
        count -= 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--count", type=int, default=60)
    args = parser.parse_args()
    cases = [case(*named) for named in NAMED]
    cases += random_cases(args.seed, args.count)
    with open(args.out, "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
    print(f"{args.out}: {len(cases)} cases")


if __name__ == "__main__":
    main()
