"""Writes a synthetic checkpoint with the sizes of MOSS-moon-003, or with any other sizes.

It has a config.json and safetensors shards, in fp16 or in the GPTQ layout with 4 or 8 bits, for
measurements of speed and memory; its text is meaningless.

The generator of each tensor is seeded with the tensor's name, so that two runs write the same
bytes. Tensors are drawn and written in blocks of rows: 200 MB of memory are enough for any model.
The gains keep the residual stream near 1 in each layer, far from the limit of fp16.

Usage: make_full_size.py --out DIR [--kind fp16|int4|int8] [--layers N] [--shard-gb 8]
         [--act-order] [--container safetensors|bin] [--vocab N --embd N --heads N ...]
"""

import argparse
import hashlib
import json
import os
import struct

import numpy as np

BLOCK_BYTES = 32 << 20
ITEM_BYTES = {"F16": 2, "I32": 4}
WBITS = {"fp16": 32, "int4": 4, "int8": 8}


def generator_of(seed, name):
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.Generator(np.random.SFC64(int.from_bytes(digest[:16], "little")))


def linear_tensors(args, stem, rows, columns, gain, bias):
    """Yields the tensors of one linear layer."""
    std = gain / columns**0.5
    if args.kind == "fp16":
        yield stem + ".weight", "F16", (rows, columns), ("normal", 0.0, std)
    else:
        bits = WBITS[args.kind]
        per_word, groups = 32 // bits, -(-columns // args.groupsize)
        # The fields are uniform; their standard deviation is 2**bits / sqrt(12).
        scale = std / (2**bits / 12**0.5)
        yield stem + ".qweight", "I32", (columns // per_word, rows), ("words",)
        yield stem + ".qzeros", "I32", (groups, rows // per_word), ("zeros", bits)
        yield stem + ".scales", "F16", (groups, rows), ("uniform", 0.8 * scale, 1.2 * scale)
        yield stem + ".g_idx", "I32", (columns,), ("groups",)
    if bias:
        yield stem + ".bias", "F16", (rows,), ("normal", 0.0, 0.05)


def tensors_of(args):
    """Yields (name, dtype, shape, distribution) of each tensor, in file order."""
    n, vocabulary, inner = args.embd, args.vocab, args.inner or 4 * args.embd
    depth = (2.0 * args.layers) ** -0.5
    yield "transformer.wte.weight", "F16", (vocabulary, n), ("normal", 0.0, 0.5)
    for layer in range(args.layers):
        prefix = f"transformer.h.{layer}."
        yield prefix + "ln_1.weight", "F16", (n,), ("normal", 1.0, 0.1)
        yield prefix + "ln_1.bias", "F16", (n,), ("normal", 0.0, 0.02)
        yield from linear_tensors(args, prefix + "attn.qkv_proj", 3 * n, n, 1.0, False)
        yield from linear_tensors(args, prefix + "attn.out_proj", n, n, depth, False)
        yield from linear_tensors(args, prefix + "mlp.fc_in", inner, n, 1.0, True)
        yield from linear_tensors(args, prefix + "mlp.fc_out", n, inner, depth, True)
    yield "transformer.ln_f.weight", "F16", (n,), ("normal", 1.0, 0.1)
    yield "transformer.ln_f.bias", "F16", (n,), ("normal", 0.0, 0.02)
    yield "lm_head.weight", "F16", (vocabulary, n), ("normal", 0.0, 3.0 / n**0.5)
    yield "lm_head.bias", "F16", (vocabulary,), ("normal", 0.0, 0.1)


def bytes_of(dtype, shape):
    return int(np.prod(shape)) * ITEM_BYTES[dtype]


def packed_zeros(rng, count, bits):
    """Draws one of the two zero points in the middle of the fields, stored less 1."""
    words = np.zeros(count, dtype=np.uint32)
    for k in range(32 // bits):
        middle = 2 ** (bits - 1)
        field = rng.integers(middle - 2, middle, count, dtype=np.uint32)
        words |= field << np.uint32(bits * k)
    return words.view(np.int32)


def blocks(args, name, dtype, shape, distribution):
    """Yields the bytes of a tensor, a block of rows at a time."""
    rng = generator_of(args.seed, name)
    kind, *params = distribution
    if kind == "groups":
        g_idx = np.arange(shape[0], dtype=np.int32) // args.groupsize
        yield (rng.permutation(g_idx) if args.act_order else g_idx).astype("<i4").tobytes()
        return
    width = int(np.prod(shape[1:])) if len(shape) > 1 else 1
    step = max(1, BLOCK_BYTES // (4 * width))
    for start in range(0, shape[0], step):
        count = min(step, shape[0] - start) * width
        if kind == "normal":
            mean, std = map(np.float32, params)
            block = rng.standard_normal(count, dtype=np.float32) * std + mean
        elif kind == "uniform":
            low, high = params
            block = rng.random(count, dtype=np.float32) * np.float32(high - low) + np.float32(low)
        elif kind == "words":
            block = rng.integers(0, 2**32, count, dtype=np.uint32).view(np.int32)
        else:
            block = packed_zeros(rng, count, *params)
        yield block.astype("<f2" if dtype == "F16" else "<i4").tobytes()


def write_shard(path, args, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, shape, _ in tensors:
        end = offset + bytes_of(dtype, shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for tensor in tensors:
            written = sum(file.write(block) for block in blocks(args, *tensor))
            assert written == bytes_of(tensor[1], tensor[2])


def split_into_shards(args):
    shards, size = [[]], 0
    for tensor in tensors_of(args):
        tensor_size = bytes_of(tensor[1], tensor[2])
        if shards[-1] and size + tensor_size > args.shard_gb * 1e9:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += tensor_size
    return shards


def shard_name(stem, extension, number, count):
    if count == 1:
        return f"{stem}.{extension}"
    return f"{stem}-{number:05d}-of-{count:05d}.{extension}"


def write_json(path, value, indent):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=indent)


def convert_to_pickles(args, files):
    """Rewrites the safetensors files as pickles, which needs torch and memory for one file.

    Quantized weights become one file, as they were published.
    """
    import torch
    from safetensors.torch import load_file

    groups = [[file] for file in files] if args.kind == "fp16" else [files]
    weight_map = {}
    for number, group in enumerate(groups, 1):
        tensors = {}
        for file in group:
            tensors.update(load_file(f"{args.out}/{file}"))
        name = shard_name("pytorch_model", "bin", number, len(groups))
        torch.save(tensors, f"{args.out}/{name}")
        weight_map.update({tensor: name for tensor in tensors})
        for file in group:
            os.remove(f"{args.out}/{file}")
        print(f"{name}: {len(tensors)} tensors", flush=True)
    if len(files) > 1:
        os.remove(f"{args.out}/model.safetensors.index.json")
    if len(groups) > 1:
        index = {"metadata": {}, "weight_map": weight_map}
        write_json(f"{args.out}/pytorch_model.bin.index.json", index, 1)


def config_of(args):
    return {
        "activation_function": "gelu_new",
        "architectures": ["MossForCausalLM"],
        "attn_pdrop": 0.0,
        "bos_token_id": args.bos,
        "embd_pdrop": 0.0,
        "eos_token_id": args.eos,
        "groupsize": args.groupsize,
        "layer_norm_epsilon": 1e-05,
        "model_type": "moss",
        "n_ctx": args.ctx,
        "n_embd": args.embd,
        "n_head": args.heads,
        "n_inner": args.inner,
        "n_layer": args.layers,
        "n_positions": args.ctx,
        "resid_pdrop": 0.0,
        "rotary_dim": args.rotary,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "use_cache": True,
        "vocab_size": args.vocab,
        "wbits": WBITS[args.kind],
    }


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--kind", choices=WBITS, default="fp16")
    parser.add_argument("--layers", type=int, default=34)
    parser.add_argument("--embd", type=int, default=6144)
    parser.add_argument("--heads", type=int, default=24)
    parser.add_argument("--rotary", type=int, default=64)
    parser.add_argument("--inner", type=int)
    parser.add_argument("--ctx", type=int, default=2048)
    parser.add_argument("--vocab", type=int, default=107008)
    parser.add_argument("--bos", type=int, default=106028)
    parser.add_argument("--eos", type=int, default=106068)
    parser.add_argument("--groupsize", type=int, default=128)
    parser.add_argument("--act-order", action="store_true")
    parser.add_argument("--shard-gb", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--container", choices=["safetensors", "bin"], default="safetensors")
    args = parser.parse_args()
    if args.heads % 4 or args.embd % args.heads:
        parser.error("the query/value/key layout needs a multiple of four heads of equal size")
    return args


def main():
    args = parse_args()
    os.makedirs(args.out, exist_ok=True)
    shards = split_into_shards(args)
    weight_map, total = {}, 0
    for number, tensors in enumerate(shards, 1):
        file = shard_name("model", "safetensors", number, len(shards))
        write_shard(f"{args.out}/{file}", args, tensors)
        weight_map.update({tensor[0]: file for tensor in tensors})
        total += sum(bytes_of(tensor[1], tensor[2]) for tensor in tensors)
        print(f"{file}: {len(tensors)} tensors", flush=True)
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_json(f"{args.out}/model.safetensors.index.json", index, 1)
    write_json(f"{args.out}/config.json", config_of(args), 2)
    print(f"{total / 1e9:.2f} GB in {len(shards)} file(s)")
    if args.container == "bin":
        convert_to_pickles(args, sorted(set(weight_map.values())))


if __name__ == "__main__":
    main()
