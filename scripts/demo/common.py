"""Shared by the demo scripts: paths, tokenizer, prompt format, and the two checkpoint layouts."""
import collections
import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples" / "demo"
FP16, INT4 = DEMO / "moss-demo", DEMO / "moss-demo-int4"
MOSS_DATA = ROOT / "tests" / "fixtures" / "moss-data"
LINEARS = ("attn.qkv_proj", "attn.out_proj", "mlp.fc_in", "mlp.fc_out")
GROUP = 128
SIZES = {"n_layer": 8, "n_embd": 128, "n_head": 4, "rotary_dim": 16, "n_ctx": 2048, "n_positions": 2048}


def meta_instruction(plugins=False):
    """Returns the meta instruction, by default without its six plugin switches."""
    text = (MOSS_DATA / "meta_instruction.txt").read_text(encoding="utf-8").splitlines()
    return "\n".join(text if plugins else text[:-6]) + "\n"


def corpus():
    files = sorted(p for p in (DEMO / "corpus").glob("*.jsonl") if p.name != "held_out.jsonl")
    return [json.loads(line) for p in files for line in p.read_text(encoding="utf-8").splitlines()]


def held_out():
    return [json.loads(line) for line in (DEMO / "corpus" / "held_out.jsonl").read_text(encoding="utf-8").splitlines()]


class Tokens:
    """A tokenizer in the published layout, and the prompt format."""

    def __init__(self, folder):
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

        self.tok = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
        self.tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        self.tok.decoder = decoders.ByteLevel()
        added = json.loads((folder / "added_tokens.json").read_text(encoding="utf-8"))
        self.tok.add_special_tokens([AddedToken("<|endoftext|>", normalized=False)])
        for token, index in sorted(added.items(), key=lambda kv: kv[1]):
            make = self.tok.add_special_tokens if token.startswith("<") else self.tok.add_tokens
            make([AddedToken(token, normalized=False, special=token.startswith("<"))])
            assert self.tok.token_to_id(token) == index, token
        self.bos, self.eoh, self.eom = (self.tok.token_to_id(t) for t in ("<|endoftext|>", "<eoh>", "<eom>"))
        self.count = self.tok.get_vocab_size()
        self.cache = {}

    def encode(self, text):
        if text not in self.cache:
            self.cache[text] = self.tok.encode(text, add_special_tokens=False).ids
        return self.cache[text]

    def decode(self, ids):
        return self.tok.decode(ids, skip_special_tokens=True)

    def question(self, user, system=None):
        """Returns the ids up to the start of the answer. `system` is the system prompt of a first
        turn (may be empty), or None for a later turn. The three pieces are encoded separately."""
        head = "\n<|Human|>: " if system is None else system + "<|Human|>: "
        return self.encode(head + user) + [self.eoh] + self.encode("\n<|MOSS|>:")

    def answer(self, moss):
        return self.encode(" " + moss) + [self.eom]

    def prompt(self, completed, user, system):
        """Returns the ids of the completed turns and of the question without an answer."""
        ids, head = [], system
        for turn in completed:
            ids += self.question(turn["user"], head) + self.answer(turn["moss"])
            head = None
        return ids + self.question(user, head)


def config_json(tokens, rows, wbits=None):
    """Returns the published config.json with the sizes of the demo model."""
    cfg = json.loads((MOSS_DATA / "sft.main-527fa41.config.json").read_text(encoding="utf-8"))
    cfg |= SIZES | {"_name_or_path": "moss-demo", "bos_token_id": tokens.bos, "eos_token_id": tokens.eom, "vocab_size": rows}
    if wbits:
        cfg |= {"wbits": wbits, "groupsize": GROUP, "_name_or_path": f"moss-demo-int{wbits}"}
    return cfg


def new_model(cfg, dropout=0.0):
    """Returns the CodeGenForCausalLM of transformers for a config.json."""
    from transformers import CodeGenConfig, CodeGenForCausalLM

    keys = ("vocab_size", "n_positions", "n_ctx", "n_embd", "n_layer", "n_head", "rotary_dim", "n_inner", "activation_function", "layer_norm_epsilon")
    return CodeGenForCausalLM(CodeGenConfig(
        **{k: cfg[k] for k in keys}, bos_token_id=cfg["bos_token_id"], eos_token_id=cfg["eos_token_id"],
        tie_word_embeddings=False, resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=0.0,
    ))


def save_fp16(folder, state, cfg, shards=2):
    """Writes PyTorch files with an index, as the fp16 checkpoints, without causal_mask buffers."""
    import torch

    state = {k: v.detach().cpu().half().contiguous().clone() for k, v in state.items()}
    total = sum(t.numel() * 2 for t in state.values())
    parts, size = [{}], 0
    for name, tensor in state.items():
        if size >= total * len(parts) / shards:
            parts.append({})
        parts[-1][name] = tensor
        size += tensor.numel() * 2
    where = {}
    for i, part in enumerate(parts, 1):
        name = f"pytorch_model-{i:05d}-of-{len(parts):05d}.bin"
        torch.save(part, folder / name)
        where |= {k: name for k in part}
    write_json(folder / "pytorch_model.bin.index.json", {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))})
    write_json(folder / "config.json", cfg)


def save_gptq(folder, state, cfg):
    import torch

    torch.save(collections.OrderedDict((k, v.detach().cpu().contiguous().clone()) for k, v in state.items()), folder / "pytorch_model.bin")
    write_json(folder / "config.json", cfg)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_compact(path, value):
    """Writes one case per line, so that diffs are readable."""
    cases = ",\n".join(json.dumps(c, ensure_ascii=False) for c in value["cases"])
    head = json.dumps({k: v for k, v in value.items() if k != "cases"}, ensure_ascii=False)
    path.write_text(f'{head[:-1]}, "cases": [\n{cases}\n]}}\n', encoding="utf-8")


def unpack(words, bits, dim):
    """Unpacks the `bits`-wide fields of int32 `words` along `dim`, lowest bits first."""
    import torch

    shifts = torch.arange(0, 32, bits)
    fields = (words.long().movedim(dim, -1).unsqueeze(-1) >> shifts) & (2**bits - 1)
    return fields.flatten(-2).movedim(-1, dim)


def load(folder):
    """Loads a checkpoint as fp32 CodeGenForCausalLM; int4: scale * (q - (stored zero + 1))."""
    import torch

    cfg = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    stored = {}
    for path in sorted(folder.glob("pytorch_model*.bin")):
        stored |= torch.load(path, map_location="cpu", weights_only=True)
    for path in sorted(folder.glob("model*.safetensors")):
        from safetensors.torch import load_file

        stored |= load_file(path)
    state = {}
    for name, tensor in stored.items():
        stem, kind = name.rsplit(".", 1)
        if kind == "qweight":
            group = stored[stem + ".g_idx"].long()
            q = unpack(tensor, cfg["wbits"], 0)
            zero = unpack(stored[stem + ".qzeros"], cfg["wbits"], 1) + 1
            state[stem + ".weight"] = (stored[stem + ".scales"].float()[group] * (q - zero[group])).t().contiguous()
        elif kind not in ("qzeros", "scales", "g_idx"):
            state[name] = tensor.float()
    model = new_model(cfg)
    model.load_state_dict(state, strict=True)
    return model.eval()
