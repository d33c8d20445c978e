"""Trains the demo tokenizer: byte-level BPE over GPT-2's split pattern, in the published layout.

Merges do not join two Chinese characters, because whole sentences of this small corpus would become
tokens. English words may become one token.

Usage: tokenizer.py [--vocab 2700]
"""
import argparse
import json
import shutil

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

import common

END = "<|endoftext|>"


def texts():
    yield from [common.meta_instruction(plugins=True)] * 4
    yield "\n<|MOSS|>: <|Human|>: " * 3
    for entry in common.corpus():
        for turn in entry["turns"]:
            yield f"<|Human|>: {turn['user']}"
            yield f"\n<|MOSS|>: {turn['moss']}"


def train(size):
    tok = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    single = pre_tokenizers.Split(Regex(r"[\u2e80-\u9fff\uff00-\uffef]"), "isolated")
    tok.pre_tokenizer = pre_tokenizers.Sequence([single, byte_level])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tok.train_from_iterator(texts(), trainers.BpeTrainer(vocab_size=size, min_frequency=2, initial_alphabet=alphabet, special_tokens=[], show_progress=False))
    model = json.loads(tok.to_str())["model"]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return sorted(model["vocab"], key=model["vocab"].get), merges


def save(folder, vocab, merges):
    """Writes vocab.json and merges.txt, and three files that follow the published ones."""
    folder.mkdir(parents=True, exist_ok=True)
    published = common.MOSS_DATA / "tokenizer"
    base = {token: i for i, token in enumerate([*vocab, END])}
    (folder / "vocab.json").write_text(json.dumps(base, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    theirs = json.loads((published / "added_tokens.json").read_text(encoding="utf-8"))
    shift = len(base) - min(theirs.values())
    ours = {token: i + shift for token, i in theirs.items()}
    (folder / "added_tokens.json").write_text(json.dumps(ours, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(published / "special_tokens_map.json", folder / "special_tokens_map.json")
    config = json.loads((published / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["name_or_path"] = "moss-demo"
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return base, ours


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--vocab", type=int, default=2700)
    a = ap.parse_args()
    vocab, merges = train(a.vocab)
    for folder in (common.FP16, common.INT4):
        base, added = save(folder, vocab, merges)
    tok = common.Tokens(common.FP16)
    for text in ("你好，世界", "Hello  world\n\t\tétoile 😀 鑫", "<|MOSS|>:"):
        ids = tok.encode(text)
        assert tok.decode(ids) == text
        print(len(ids), repr(text), ids)
    meta = tok.encode(common.meta_instruction())
    print(f"{len(base)} base tokens, {len(base) + len(added)} in all; {len(meta)} in the meta instruction; "
          f"<|endoftext|> {base[END]}, <eom> {added['<eom>']}")


if __name__ == "__main__":
    main()
