"""Writes checkpoints in the file layouts of the MOSS-moon-003 repositories.

These are config.json, fp16 weights as pickles or safetensors (in one file or sharded), and GPTQ
weights with 4 or 8 bits.
"""

import collections
import json
import os

import torch
from safetensors.torch import save_file

LINEARS = ("attn.qkv_proj", "attn.out_proj", "mlp.fc_in", "mlp.fc_out")


def config_json(spec, wbits=32, with_bits=True):
    """Returns the published config.json with the sizes of `spec`."""
    config = {
        "_name_or_path": "fixture/" + spec["name"],
        "activation_function": "gelu_new",
        "architectures": ["MossForCausalLM"],
        "attn_pdrop": 0.0,
        "auto_map": {
            "AutoConfig": "configuration_moss.MossConfig",
            "AutoModel": "modeling_moss.MossModel",
            "AutoModelForCausalLM": "modeling_moss.MossForCausalLM",
        },
        "bos_token_id": spec["bos"],
        "embd_pdrop": 0.0,
        "eos_token_id": spec["eos"],
        "gradient_checkpointing": False,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "model_type": "moss",
        "n_ctx": spec["n_ctx"],
        "n_embd": spec["n_embd"],
        "n_head": spec["n_head"],
        "n_inner": spec.get("n_inner"),
        "n_layer": spec["n_layer"],
        "n_positions": spec["n_ctx"],
        "resid_pdrop": 0.0,
        "rotary_dim": spec["rotary_dim"],
        "scale_attn_weights": True,
        "tie_word_embeddings": False,
        "tokenizer_class": "MossTokenizer",
        "torch_dtype": "float16",
        "transformers_version": "4.25.1",
        "use_cache": True,
        "vocab_size": spec["vocab_size"],
    }
    if with_bits:
        config["wbits"] = wbits
        config["groupsize"] = spec.get("groupsize", 128)
    return config


def write_config(folder, config):
    os.makedirs(folder, exist_ok=True)
    write_json(f"{folder}/config.json", config)


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")


def with_causal_masks(state, spec, dtype=torch.bool):
    """Returns `state` with the causal_mask buffer that the published files have in each layer."""
    n = spec["n_ctx"]
    mask = torch.tril(torch.ones(n, n, dtype=torch.bool)).view(1, 1, n, n).to(dtype)
    out = collections.OrderedDict()
    for name, tensor in state.items():
        if name.endswith(("attn.qkv_proj.weight", "attn.qkv_proj.qweight")):
            out[name.split("qkv_proj")[0] + "causal_mask"] = mask.clone()
        out[name] = tensor
    return out


def split_into_shards(state, count):
    """Splits `state` in its order into `count` parts of similar size.

    Returns the parts and the total number of bytes.
    """
    total = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    parts, size = [{}], 0
    for name, tensor in state.items():
        if size >= total / count * len(parts) and len(parts) < count:
            parts.append({})
        parts[-1][name] = tensor
        size += tensor.numel() * tensor.element_size()
    return parts, total


def save_bin(folder, state, count=1):
    """Writes pickles, as torch.save does."""
    os.makedirs(folder, exist_ok=True)
    if count == 1:
        torch.save(collections.OrderedDict(state), f"{folder}/pytorch_model.bin")
        return
    parts, total = split_into_shards(state, count)
    weight_map = {}
    for number, part in enumerate(parts, 1):
        name = f"pytorch_model-{number:05d}-of-{len(parts):05d}.bin"
        torch.save(part, f"{folder}/{name}")
        weight_map.update({key: name for key in part})
    write_index(f"{folder}/pytorch_model.bin.index.json", total, weight_map)


def save_safetensors(folder, state, count=1):
    os.makedirs(folder, exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in state.items()}
    if count == 1:
        save_file(state, f"{folder}/model.safetensors", metadata={"format": "pt"})
        return
    parts, total = split_into_shards(state, count)
    weight_map = {}
    for number, part in enumerate(parts, 1):
        name = f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        save_file(part, f"{folder}/{name}", metadata={"format": "pt"})
        weight_map.update({key: name for key in part})
    write_index(f"{folder}/model.safetensors.index.json", total, weight_map)


def write_index(path, total, weight_map):
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(path, index)


def pack(values, bits, dim):
    """Packs unsigned fields of `bits` into int32 words along `dim`, the first field lowest."""
    per_word = 32 // bits
    values = values.to(torch.int64).movedim(dim, -1)
    fields = values.reshape(*values.shape[:-1], -1, per_word)
    words = (fields << (bits * torch.arange(per_word))).sum(-1)
    words = torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)
    return words.movedim(-1, dim).contiguous()


def unpack(words, bits, dim):
    """Returns the fields that `pack` packed."""
    per_word = 32 // bits
    words = words.to(torch.int64).movedim(dim, -1) & 0xFFFFFFFF
    fields = (words.unsqueeze(-1) >> (bits * torch.arange(per_word))) & (2**bits - 1)
    return fields.reshape(*words.shape[:-1], -1).movedim(-1, dim)


def quantize(weight, bits, group_size, g_idx, wide_zero=None):
    """Quantizes `weight` [out, in] asymmetrically, rounding to nearest.

    Each group of input features has one scale and one zero point per output. `wide_zero`
    [groups, out] marks entries that get the zero point 2**bits. It is stored as 2**bits - 1,
    because the stored value is the zero point minus 1; a reader that adds the 1 back must not wrap.

    Returns the stored tensors and the fp32 weight that they represent.
    """
    top = 2**bits - 1
    w = weight.float().t().contiguous()
    groups = w.shape[0] // group_size
    scales = torch.empty(groups, w.shape[1])
    zeros = torch.empty(groups, w.shape[1])
    for group in range(groups):
        rows = w[g_idx == group]
        low, high = rows.min(0).values.clamp(max=0), rows.max(0).values.clamp(min=0)
        scale = ((high - low) / top).clamp(min=1e-5).half().float()
        zero = torch.round(-low / scale).clamp(1, top)
        if wide_zero is not None:
            wide_scale = (-low / 2**bits).clamp(min=1e-5).half().float()
            scale = torch.where(wide_zero[group], wide_scale, scale)
            zero = torch.where(wide_zero[group], torch.tensor(float(top + 1)), zero)
        scales[group], zeros[group] = scale, zero
    group_of = g_idx.long()
    q = (torch.round(w / scales[group_of]) + zeros[group_of]).clamp(0, top)
    stored = {
        "qweight": pack(q, bits, 0),
        "qzeros": pack(zeros - 1, bits, 1),
        "scales": scales.half(),
        "g_idx": g_idx.to(torch.int32),
    }
    return stored, (scales[group_of] * (q - zeros[group_of])).t().contiguous()


def dequantize(stored, bits):
    """Computes scale * (q - (stored zero + 1)) from the stored tensors."""
    group_of = stored["g_idx"].long()
    q = unpack(stored["qweight"], bits, 0)
    zeros = unpack(stored["qzeros"], bits, 1) + 1
    scales = stored["scales"].float()[group_of]
    return (scales * (q - zeros[group_of]).float()).t().contiguous()


def quantize_state(state, spec, bits, act_order, generator):
    """Quantizes the linear layers of a state dict.

    Returns the state dict as it is published, and the fp32 weights for the oracle.
    """
    group_size = spec.get("groupsize", 128)
    out, full = collections.OrderedDict(), {}
    for name, tensor in state.items():
        stem = name.removesuffix(".weight")
        if stem == name or not stem.endswith(LINEARS):
            out[name] = tensor.half()
            full[name] = out[name].float()
            continue
        inputs = tensor.shape[1]
        g_idx = torch.arange(inputs) // group_size
        if act_order:
            g_idx = g_idx[torch.randperm(inputs, generator=generator)]
        wide = torch.rand(inputs // group_size, tensor.shape[0], generator=generator) < 0.01
        stored, weight = quantize(tensor, bits, group_size, g_idx, wide)
        assert torch.equal(weight, dequantize(stored, bits))
        for key, value in stored.items():
            out[f"{stem}.{key}"] = value
        full[name] = weight
    return out, full
