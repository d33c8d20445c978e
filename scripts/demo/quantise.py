"""Quantizes examples/demo/moss-demo to examples/demo/moss-demo-int4 with GPTQ (4 bits, groups of
128, published layout).

Columns are rounded one after another. The rounding error of each is compensated in the remaining
columns, with the inverse Hessian of the layer's inputs on calibration samples (Frantar et al.
2022). Without act-order.

Usage: quantise.py [--samples 256]
"""
import argparse
import collections

import torch

import common

BITS, TOP = 4, 15


def grid(w):
    """Returns scale (an fp16 value) and zero point of each row of w [out, in]."""
    low, high = w.amin(1).clamp(max=0), w.amax(1).clamp(min=0)
    scale = ((high - low) / TOP).clamp(min=1e-6).half().to(w.dtype)
    return scale, torch.round(-low / scale).clamp(1, TOP + 1)


def rounded(w):
    """Returns w [out, in] rounded to 4 bits per group: round to nearest, without GPTQ."""
    groups = w.reshape(-1, common.GROUP)
    scale, zero = (x[:, None] for x in grid(groups))
    q = (torch.round(groups / scale) + zero).clamp(0, TOP)
    return (scale * (q - zero)).view_as(w)


def gptq(w, hessian, damp=0.01):
    """Returns quantized values [out, in], scales and zeros [out, groups], dequantized weight."""
    w, h = w.double().clone(), hessian.double().clone()
    n = w.shape[1]
    dead = h.diagonal() == 0
    h[dead, dead] = 1
    w[:, dead] = 0
    h += torch.eye(n, dtype=h.dtype, device=h.device) * damp * h.diagonal().mean()
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    q, scales, zeros = torch.zeros_like(w), [], []
    for i in range(n):
        if i % common.GROUP == 0:
            scale, zero = grid(w[:, i : i + common.GROUP])
            scales.append(scale)
            zeros.append(zero)
        q[:, i] = (torch.round(w[:, i] / scale) + zero).clamp(0, TOP)
        error = (w[:, i] - scale * (q[:, i] - zero)) / inverse[i, i]
        w[:, i:] -= error[:, None] * inverse[i, i:]
    scales, zeros = torch.stack(scales, 1), torch.stack(zeros, 1)
    whole = scales.repeat_interleave(common.GROUP, 1) * (q - zeros.repeat_interleave(common.GROUP, 1))
    return q, scales, zeros, whole


def pack(fields, dim):
    """Packs eight 4-bit fields per int32 word along `dim`, the first in the lowest bits."""
    fields = fields.long().movedim(dim, -1).unflatten(-1, (-1, 32 // BITS))
    words = (fields << torch.arange(0, 32, BITS, device=fields.device)).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).int().movedim(-1, dim).contiguous()


@torch.no_grad()
def hessians(block, names, runs):
    """Returns the sum of x x^T over the calibration inputs x of the named linear layers."""
    total, hooks = {}, []
    for name in names:
        def catch(module, args, output, name=name):
            x = args[0].reshape(-1, args[0].shape[-1]).double()
            total[name] = total.get(name, 0) + x.t() @ x
        hooks.append(block.get_submodule(name).register_forward_hook(catch))
    for hidden, positions in runs:
        block(hidden, attention_mask=common_mask(hidden), position_ids=positions)
    for h in hooks:
        h.remove()
    return total


def common_mask(hidden):
    n = hidden.shape[1]
    return torch.full((n, n), torch.finfo(torch.float32).min, device=hidden.device).triu(1)[None, None]


@torch.no_grad()
def main():
    from samples import Samples

    ap = argparse.ArgumentParser()
    ap.add_argument("--samples", type=int, default=256)
    a = ap.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokens = common.Tokens(common.FP16)
    model = common.load(common.FP16).to(device)
    source = Samples(tokens, seed=7)
    runs = []
    for _ in range(a.samples):
        ids = torch.tensor([source.sample()[0]], device=device)
        runs.append((model.transformer.wte(ids), torch.arange(ids.shape[1], device=device)[None]))
    made, worst = {}, 0.0
    for i, block in enumerate(model.transformer.h):
        # The inputs of the second pair are computed with the quantized first pair.
        for names in (common.LINEARS[0::2], common.LINEARS[1::2]):
            for name, hessian in hessians(block, names, runs).items():
                linear = block.get_submodule(name)
                q, scales, zeros, whole = gptq(linear.weight, hessian)
                delta = (whole - linear.weight).double()
                worst = max(worst, float((delta @ hessian * delta).sum() / (linear.weight.double() @ hessian * linear.weight).sum()))
                linear.weight.copy_(whole)
                made[f"transformer.h.{i}.{name}"] = {
                    "qweight": pack(q.t(), 0), "qzeros": pack(zeros.t() - 1, 1), "scales": scales.t().half(),
                    "g_idx": (torch.arange(q.shape[1]) // common.GROUP).int(),
                }
        runs = [(block(h, attention_mask=common_mask(h), position_ids=p)[0], p) for h, p in runs]
    out = collections.OrderedDict()
    for name, tensor in model.state_dict().items():
        stem = name.rsplit(".", 1)[0]
        if name == stem + ".weight" and stem in made:
            out |= {f"{stem}.{kind}": value for kind, value in made[stem].items()}
        else:
            out[name] = tensor.half()
    common.INT4.mkdir(parents=True, exist_ok=True)
    common.save_gptq(common.INT4, out, common.config_json(tokens, model.config.vocab_size, BITS))
    again = common.load(common.INT4).state_dict()
    for stem in made:
        assert torch.equal(again[stem + ".weight"], model.state_dict()[stem + ".weight"].cpu()), stem
    print(f"quantised {len(made)} matrices, largest relative output error {worst:.4f}")


if __name__ == "__main__":
    main()
