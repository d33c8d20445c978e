"""Trains the fixture tokenizer and writes two tokenizer folders.

  tokenizer/      vocab.json with ASCII escapes, merges.txt, the five end-of-turn tokens in
                  added_tokens.json, and special_tokens_map.json with objects
  tokenizer-ws/   the same vocabulary and merges, vocab.json in plain UTF-8; 38 whitespace runs come
                  before the end-of-turn tokens, as in checkpoints derived from CodeGen, and
                  special_tokens_map.json has plain strings

Usage: make_tokenizer.py OUT [--vocab 1500]
"""

import argparse
import json
import os

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import corpus

END_OF_TEXT = "<|endoftext|>"
END_OF_TURN = ["<eoh>", "<eom>", "<eot>", "<eoc>", "<eor>"]
WHITESPACE_RUNS = [" " * n for n in range(31, 1, -1)] + ["\t" * n for n in range(9, 1, -1)]


def train(size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    # Blocks of lines with their newlines, so that "\n" and indentation take part in merges.
    lines = corpus.lines()
    blocks = ["\n".join(lines[i : i + 12]) + "\n" for i in range(0, len(lines), 12)]
    tokenizer.train_from_iterator(blocks, trainer)
    state = json.loads(tokenizer.to_str())["model"]
    merges = [m.split(" ") if isinstance(m, str) else list(m) for m in state["merges"]]
    return state["vocab"], merges


def token_object(content):
    return {
        "content": content,
        "lstrip": False,
        "normalized": True,
        "rstrip": False,
        "single_word": False,
    }


def write(path, value, ascii_only):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=ascii_only)


def save(folder, vocab, merges, added, ascii_only, as_objects):
    """Writes one tokenizer folder and returns the number of its tokens."""
    os.makedirs(folder, exist_ok=True)
    base = dict(sorted(vocab.items(), key=lambda item: item[1]))
    base[END_OF_TEXT] = len(base)
    write(f"{folder}/vocab.json", base, ascii_only)
    with open(f"{folder}/merges.txt", "w", encoding="utf-8") as file:
        file.write("#version: 0.2\n")
        for left, right in merges:
            file.write(f"{left} {right}\n")
    first = len(base)
    by_name = sorted(enumerate(added), key=lambda item: item[1])
    write(f"{folder}/added_tokens.json", {token: first + i for i, token in by_name}, False)

    def special(token):
        return token_object(token) if as_objects else token

    tokens = {
        "additional_special_tokens": [special(token) for token in END_OF_TURN],
        "bos_token": special(END_OF_TEXT),
        "eos_token": special("<eom>"),
        "unk_token": special(END_OF_TEXT),
    }
    write(f"{folder}/special_tokens_map.json", tokens, False)
    config = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "auto_map": {"AutoTokenizer": ["tokenization_moss.MossTokenizer", None]},
        "bos_token": {"__type": "AddedToken", **token_object(END_OF_TEXT)},
        "eos_token": {"__type": "AddedToken", **token_object("<eom>")},
        "unk_token": {"__type": "AddedToken", **token_object(END_OF_TEXT)},
        "pad_token": None,
        "errors": "replace",
        "model_max_length": 2048,
        "tokenizer_class": "MossTokenizer",
    }
    write(f"{folder}/tokenizer_config.json", config, False)
    return first + len(added)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--vocab", type=int, default=1500)
    args = parser.parse_args()
    vocab, merges = train(args.vocab)
    plain = save(f"{args.out}/tokenizer", vocab, merges, END_OF_TURN, True, True)
    added = WHITESPACE_RUNS + END_OF_TURN
    with_runs = save(f"{args.out}/tokenizer-ws", vocab, merges, added, False, False)
    print(f"{len(vocab)} BPE tokens, {len(merges)} merges; {plain} and {with_runs} tokens in all")


if __name__ == "__main__":
    main()
