"""Writes the tokenizer cases, in JSON lines, for the folders that make_tokenizer.py writes.

The reference is the slow GPT2Tokenizer of transformers 4.25.1, the version that MOSS was published
with: MossTokenizer is the same byte-level BPE with the same GPT-2 split pattern. The `tokenizers`
library must give the same ids.

Fields of a case:
  text                  the input, or null for a case that is only decoded
  ids                   its token ids
  decoded               the text of the ids, with nothing inserted and nothing cleaned up
  decoded_skip_special  the same without special tokens
  hf_decoded            only if it differs from `decoded`: what decode(ids) of transformers 4.25.1
                        returns, which puts a space on both sides of every added token
  hf_batch_decoded      only if it differs from `hf_decoded`: what batch_decode(ids) returns, which
                        also removes spaces before punctuation

Usage: make_tokenizer_cases.py --meta FILE --out DIR [--seed N] [--random N]
"""

import argparse
import json
import pathlib
import random
import unicodedata

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Tokenizer

import corpus
import texts

# Scripts and symbols that random texts are drawn from.
POOLS = [
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "0123456789",
    " \t\n\r",
    "   ",
    ".,;:!?'\"()[]{}<>|/\\@#$%^&*-_=+`~",
    "的一是不了人我在有他这中大来上个国和也子时道说出而要于就下得可你年生",
    "，。！？；：“”（）《》、…—",
    "áéíóúñçüößøåæœ",
    "абвгдежзийклмнопрстуф",
    "ابتثجحخدذرزسش",
    "अआइईउऊएऐओऔकखगघ",
    "가나다라마바사아자차",
    "あいうえおカキクケコ",
    "😀😃🎉👍🚀🦊🐱",
    "\u0301\u0308\u0327\u20e3\ufe0f\u200d",
    "\u00a0\u2003\u3000\u2028\u0085",
    "٠١٢٣½²Ⅷ一二三",
    "\u0000\u0001\u001c\u001f\u007f\u200b\ufeff",
]
MARKS = [
    *("<eoh>", "<eom>", "<eot>", "<eoc>", "<eor>", "<|endoftext|>"),
    *("<|Human|>: ", "<|MOSS|>: ", "<eo", "h>", "<|"),
]
SPACES = [" ", "  ", "\n", "\n\n", "\r\n", "\t", "    ", ""]

# Invalid UTF-8, and bytes of a part of a character.
RAW_BYTES = [
    *(b"\xe4", b"\xe4\xbd", b"\xe4\xbd\xa0", b"\xbd\xa0"),
    *(b"\xf0\x9f\x98", b"\xf0\x9f\x98\x80", b"\x9f\x98\x80"),
    *(b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff\xfe"),
    *(b"a\xe4b", b"\xe4\xbda", b"\xe4\xbd\xe4\xbd\xa0", b"\xf0\x9f\xe4\xbd\xa0"),
    *(b"\xc3", b"\xc3\xa9", b"\xc3\xc3\xa9", b"\x80\x80\x80", b"\xe0\x80\x80"),
    *(b"\xf8\x88\x80\x80\x80", b"ok \xf0\x9f\x98", b"\xef\xbf\xbd", b"\xef\xbb\xbf", b"\x00\x01"),
]
CUT_TEXTS = [
    "你好，世界！",
    "😀🎉👨‍👩‍👧‍👦",
    "naïve café",
    "价格￥128",
    "🇨🇳🇫🇷",
    "a b  c",
    "\n\n<|MOSS|>: 好的。",
]


def read_json(path):
    return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))


def load_slow(folder):
    tokenizer = GPT2Tokenizer.from_pretrained(folder)
    for content, i in read_json(f"{folder}/added_tokens.json").items():
        assert tokenizer.convert_tokens_to_ids(content) == i, (content, i)
    assert tokenizer.eos_token == "<eom>" and tokenizer.unk_token == "<|endoftext|>"
    return tokenizer


def load_fast(folder):
    model = models.BPE.from_file(f"{folder}/vocab.json", f"{folder}/merges.txt")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    added = read_json(f"{folder}/added_tokens.json")
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", normalized=False)])
    for content, _ in sorted(added.items(), key=lambda item: item[1]):
        tokenizer.add_tokens([AddedToken(content, normalized=False)])
    for content, i in added.items():
        assert tokenizer.token_to_id(content) == i, (content, i)
    return tokenizer


class Decoder:
    """Decodes by the rule that the fixtures demand.

    Added tokens stand for their own text. The bytes of each run of other tokens are joined and read
    as UTF-8, with U+FFFD for what is malformed. Special tokens that are skipped are removed first.
    """

    def __init__(self, folder):
        vocabulary = read_json(f"{folder}/vocab.json")
        added = read_json(f"{folder}/added_tokens.json")
        self.added = {i: token for token, i in added.items()}
        self.tokens = {i: token for token, i in vocabulary.items()}
        self.byte_of = self.byte_table()
        self.special = {vocabulary["<|endoftext|>"]}
        self.special |= {i for i, token in self.added.items() if token.startswith("<")}

    @staticmethod
    def byte_table():
        """Maps characters to bytes: printable bytes to themselves, the others from U+0100 on."""
        printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
        others = [byte for byte in range(256) if byte not in printable]
        table = {chr(byte): byte for byte in printable}
        return table | {chr(256 + i): byte for i, byte in enumerate(others)}

    def decode(self, ids, skip_special):
        out, run = [], bytearray()
        for i in ids:
            if skip_special and i in self.special:
                continue
            if i in self.added:
                out.append(run.decode("utf-8", "replace"))
                run = bytearray()
                out.append(self.added[i])
            else:
                run += bytes(self.byte_of[c] for c in self.tokens[i])
        out.append(run.decode("utf-8", "replace"))
        return "".join(out)


def random_texts(rng, count):
    """Draws texts from many scripts and from pieces of the corpus."""
    lines = [line for line in corpus.lines() if line.strip()]
    out = []
    while len(out) < count:
        parts = []
        for _ in range(rng.randint(1, 6)):
            kind = rng.random()
            if kind < 0.45:
                pool = rng.choice(POOLS)
                parts.append("".join(rng.choice(pool) for _ in range(rng.randint(1, 7))))
            elif kind < 0.7:
                line = rng.choice(lines)
                start = rng.randrange(len(line))
                parts.append(line[start : start + rng.randint(1, 24)])
            elif kind < 0.82:
                parts.append(rng.choice(MARKS))
            else:
                parts.append(rng.choice(SPACES))
        out.append("".join(parts))
    return out


def id_sequences(rng, slow, count):
    """Returns ids that no text may have: cut characters, stray bytes, special tokens in between."""
    byte_id = {byte: slow.encoder[c] for byte, c in slow.byte_encoder.items()}
    out = [[byte_id[byte] for byte in raw] for raw in RAW_BYTES]
    tokens = ("<eom>", "<eoh>", "<|endoftext|>")
    eom, eoh, end = (slow.convert_tokens_to_ids(token) for token in tokens)
    you = [byte_id[byte] for byte in "你".encode()]
    out += [you[:1] + [eom] + you[1:], you[:2] + [end] + you[2:], you[:2] + [eoh, eom] + you[2:]]
    out += [[eom], [end], [end, end], []]
    out += [[eom] + you + [eom], you[:2] + [eom], [eoh] + you[1:], you[:2] + you]
    out += [you[:1] + you[:2] + you]
    for text in CUT_TEXTS:
        ids = [byte_id[byte] for byte in text.encode()]
        out += [ids[:cut] for cut in range(1, min(len(ids), 8))]
        ids = slow.encode(text)
        out += [ids[:cut] for cut in range(1, len(ids))]
    top = max(slow.added_tokens_encoder.values()) + 1
    out += [[rng.randrange(top) for _ in range(rng.randint(1, 16))] for _ in range(count)]
    for _ in range(count):
        length = rng.randint(1, 10)
        # Every second byte on average continues a character or starts one of several bytes.
        drawn = [rng.choice([rng.randrange(256), rng.randrange(128, 256)]) for _ in range(length)]
        out.append([byte_id[byte] for byte in drawn])
    return out


def cli_instruction(meta):
    """Returns the instruction of the published command-line demo.

    It is the same text without the tools, its later lines indented.
    """
    first, *others = meta.splitlines()
    tools = others.index("Capabilities and tools that MOSS can possess.")
    indented = ["    " + line for line in [*others[: tools + 1], ""]]
    return "\n".join([first, *indented])


def chat_texts(meta, dialogue):
    """Returns prompts in the layouts of the published demos, with one to three turns."""
    out = []
    tools = meta.split("Capabilities and tools that MOSS can possess.\n")[1]
    short = meta[: len(meta) - len(tools)]
    for instruction in (short, meta if meta.endswith("\n") else meta + "\n"):
        for count in range(1, 1 + len(dialogue)):
            text = instruction
            for i, (question, answer) in enumerate(dialogue[:count]):
                text += f"<|Human|>: {question}<eoh>\n<|MOSS|>:"
                if i + 1 < count:
                    text += f" {answer}<eom>\n"
            out.append(text)
    # The command-line demo has no "<|MOSS|>:" after the question. It puts the answer back with that
    # prefix and without its special tokens.
    text = cli_instruction(meta)
    for question, answer in dialogue:
        text += f"<|Human|>: {question}<eoh>"
        out.append(text)
        text += f"\n<|MOSS|>: {answer}"
    question, answer = dialogue[0]
    out.append(
        short + "- Web search: enabled. API: Search(query)\n"
        f"<|Human|>: {question}<eoh>\n<|Inner Thoughts|>: {answer}<eot>\n"
        f'<|Commands|>: Search("{question}")<eoc>\n'
        f'<|Results|>:\nSearch("{question}") =>\n<|1|>: "{answer}"\n<eor>\n<|MOSS|>:'
    )
    return out


def add_decoded(case, decoder, slow):
    """Adds the decoded texts; those of `slow`, where one is given, must agree."""
    ids = case["ids"]
    case["decoded"] = decoder.decode(ids, False)
    case["decoded_skip_special"] = decoder.decode(ids, True)
    if slow is None:
        return
    options = {"clean_up_tokenization_spaces": False}
    decoded = slow.decode(ids, spaces_between_special_tokens=False, **options)
    assert decoded == case["decoded"], ids
    assert slow.decode(ids, skip_special_tokens=True, **options) == case["decoded_skip_special"]
    published = slow.decode(ids, **options)
    if published != case["decoded"]:
        case["hf_decoded"] = published
    batch = slow.batch_decode([ids])[0]
    if batch != published:
        case["hf_batch_decoded"] = batch


def make_cases(folder, inputs, sequences, slow):
    """Returns the cases of one tokenizer folder. `slow` checks the ids where it is given."""
    decoder, fast = Decoder(folder), load_fast(folder)
    cases = []
    for text in dict.fromkeys(inputs):
        ids = fast.encode(text, add_special_tokens=False).ids
        assert slow is None or slow.encode(text) == ids, text
        assert decoder.decode(ids, False) == text, text
        cases.append({"text": text, "ids": ids})
    cases += [{"text": None, "ids": ids} for ids in sequences]
    for case in cases:
        add_decoded(case, decoder, slow)
    return cases


def write_cases(path, cases):
    with open(path, "w", encoding="utf-8") as file:
        for case in cases:
            file.write(json.dumps(case, ensure_ascii=True) + "\n")
    spaces = sum("hf_decoded" in case for case in cases)
    cleaned = sum("hf_batch_decoded" in case for case in cases)
    print(f"{path}: {len(cases)} cases; upstream adds spaces in {spaces}, cleans up {cleaned}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--meta", required=True, help="the published meta instruction")
    parser.add_argument("--out", required=True, help="folder of the tokenizer folders")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--random", type=int, default=120)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    meta = pathlib.Path(args.meta).read_text(encoding="utf-8")

    inputs = texts.TEXTS + chat_texts(meta, texts.TURNS) + random_texts(rng, args.random)
    for form in ("NFC", "NFD", "NFKC"):
        inputs.append(unicodedata.normalize(form, "Ünïcödé ﬁne ① Å 각 が"))

    slow = load_slow(f"{args.out}/tokenizer")
    sequences = id_sequences(rng, slow, 40)
    cases = make_cases(f"{args.out}/tokenizer", inputs, sequences, slow)
    write_cases(f"{args.out}/tokenizer_cases.jsonl", cases)

    runs = [text for text in inputs if "  " in text or "\t\t" in text or "<eo" in text]
    cases = make_cases(f"{args.out}/tokenizer-ws", runs + inputs[:20], [], None)
    write_cases(f"{args.out}/tokenizer_ws_cases.jsonl", cases)


if __name__ == "__main__":
    main()
