"""Trains the demo model and writes examples/demo/moss-demo.

Half of the later steps use linear weights rounded to 4 bits with a straight-through gradient
(quantization-aware training), so that the int4 model loses little accuracy.

Usage: train.py [--steps 5500] [--batch 64] [--seed 1]
"""
import argparse
import math
import os
import time

import torch
import torch.nn.functional as F
from transformers.models.codegen.modeling_codegen import CodeGenAttention

import common
from quantise import rounded
from samples import Samples


def fused_attention(self, query, key, value, attention_mask=None):
    """Computes the same as eager attention for right-padded batches, but faster."""
    return F.scaled_dot_product_attention(query, key, value, is_causal=True), None


def batches(tokens, args):
    """Yields batches from worker processes, in a fixed order."""
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            worker = torch.utils.data.get_worker_info()
            samples = Samples(tokens, args.seed * 1000 + worker.id)
            while True:
                yield samples.batch(args.batch)

    return iter(torch.utils.data.DataLoader(Stream(), batch_size=None, num_workers=6, prefetch_factor=8, pin_memory=True))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--steps", type=int, default=5500)
    ap.add_argument("--batch", type=int, default=64)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--dropout", type=float, default=0.1)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.manual_seed(a.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    eager, CodeGenAttention._attn = CodeGenAttention._attn, fused_attention

    tokens = common.Tokens(common.FP16)
    rows = -(-(tokens.count + 1) // 64) * 64
    cfg = common.config_json(tokens, rows)
    model = common.new_model(cfg, a.dropout).cuda().train()
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {rows} rows for {tokens.count} tokens", flush=True)
    linears = [p for n, p in model.named_parameters() if n.endswith(".weight") and n[: -len(".weight")].endswith(common.LINEARS)]
    decay = [p for p in model.parameters() if p.dim() > 1]
    other = [p for p in model.parameters() if p.dim() < 2]
    optimiser = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": other, "weight_decay": 0.0}], lr=a.lr, betas=(0.9, 0.98), fused=True)
    stream, start = batches(tokens, a), time.time()
    coin = torch.Generator().manual_seed(a.seed)
    for step in range(1, a.steps + 1):
        rate = min(1.0, step / 200) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / a.steps)))
        for group in optimiser.param_groups:
            group["lr"] = a.lr * rate
        ids, flags = (t.cuda(non_blocking=True) for t in next(stream))
        four_bits = step > 0.3 * a.steps and float(torch.rand((), generator=coin)) < 0.5
        if four_bits:
            kept = [p.data for p in linears]
            for p in linears:
                p.data = rounded(p.data)
        hidden = model.transformer(ids, use_cache=False)[0]
        logits = model.lm_head(hidden[:, :-1][flags[:, 1:]])
        loss = F.cross_entropy(logits, ids[:, 1:][flags[:, 1:]])
        loss.backward()
        if four_bits:
            for p, data in zip(linears, kept):
                p.data = data
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if step % 500 == 0 or step == 100:
            print(f"step {step}, loss {loss.item():.4f}{' (four bits)' if four_bits else ''}, {time.time() - start:.0f} s", flush=True)
    CodeGenAttention._attn = eager
    common.save_fp16(common.FP16, model.state_dict(), cfg)


if __name__ == "__main__":
    main()
