"""Computes the expected logits of small CodeGen checkpoints in double precision.

This is a second oracle. It uses NumPy only and is written from the definition of the network, so
that it shares no code with transformers. It reads the checkpoints `tied-bias`, whose output layer
is the embedding with a stored bias, and `stale-index`, whose folder contains model.safetensors and
an index of older shards, and writes an expected.json with the logits of the last of the given ids.

Usage: make_double.py CHECKPOINT OUT.json
"""

import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import load_file

# An arbitrary prompt; 2739 is <eoh> in the vocabulary of these checkpoints.
IDS = [27, 91, 44, 1200, 91, 31, 2739, 198]
QKV_SLABS = 4  # qkv_proj holds four slabs of [query | value | key]


def layer_norm(x, weight, bias, epsilon):
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(-1, keepdims=True) + epsilon) * weight + bias


def gelu_new(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rotate(x, rotary_dim):
    """Rotates neighboring pairs of the first `rotary_dim` elements of [positions, heads, dim]."""
    exponent = np.arange(0, rotary_dim, 2) / rotary_dim
    angle = np.arange(len(x))[:, None] / 10000.0**exponent
    sin, cos = np.sin(angle)[:, None], np.cos(angle)[:, None]
    even, odd = x[..., 0:rotary_dim:2], x[..., 1:rotary_dim:2]
    out = x.copy()
    out[..., 0:rotary_dim:2] = even * cos - odd * sin
    out[..., 1:rotary_dim:2] = odd * cos + even * sin
    return out


def attention(x, tensor, config):
    n, heads = len(x), config["n_head"]
    qkv = (x @ tensor("attn.qkv_proj.weight").T).reshape(n, QKV_SLABS, 3, -1)
    query, value, key = (qkv[:, :, part].reshape(n, heads, -1) for part in range(3))
    query, key = rotate(query, config["rotary_dim"]), rotate(key, config["rotary_dim"])
    scores = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(query.shape[-1])
    scores = np.where(np.tril(np.ones((n, n), dtype=bool)), scores, -np.inf)
    mixed = np.einsum("hqk,khd->qhd", softmax(scores), value).reshape(n, -1)
    return mixed @ tensor("attn.out_proj.weight").T


def mlp(x, tensor):
    inner = gelu_new(x @ tensor("mlp.fc_in.weight").T + tensor("mlp.fc_in.bias"))
    return inner @ tensor("mlp.fc_out.weight").T + tensor("mlp.fc_out.bias")


def logits(folder, ids):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    state = load_file(folder / "model.safetensors")
    state = {name: tensor.astype(np.float64) for name, tensor in state.items()}
    epsilon = config["layer_norm_epsilon"]
    x = state["transformer.wte.weight"][ids]
    for layer in range(config["n_layer"]):

        def tensor(name, prefix=f"transformer.h.{layer}."):
            return state[prefix + name]

        h = layer_norm(x, tensor("ln_1.weight"), tensor("ln_1.bias"), epsilon)
        x = x + attention(h, tensor, config) + mlp(h, tensor)
    x = layer_norm(x, state["transformer.ln_f.weight"], state["transformer.ln_f.bias"], epsilon)
    tied = "transformer.wte.weight"
    return x[-1] @ state.get("lm_head.weight", state[tied]).T + state["lm_head.bias"]


def main():
    folder, out = map(pathlib.Path, sys.argv[1:])
    rounded = [round(float(x), 6) for x in logits(folder, IDS)]
    out.write_text(json.dumps({"ids": IDS, "logits": rounded}), encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
