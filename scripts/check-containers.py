"""Reads the checkpoints that moss-cli writes with PyTorch, safetensors and transformers.

Usage: check-containers.py path/to/moss-cli. Needs torch, transformers 5 and safetensors.

A converted checkpoint must load in CodeGenForCausalLM.from_pretrained without missing or unexpected
names, and its logits must be bit-identical to those of its source. A quantized checkpoint,
dequantized here, must have the logits that moss-cli computes from it.
"""
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import CodeGenForCausalLM

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "scripts/demo"))
import common

SOURCE = ROOT / "examples/demo/moss-demo"
IDS = [(i * 37 + 11) % 2700 for i in range(64)]
# Both sides use f32, but add in different orders.
TOLERANCE = 1e-3


def moss(*args):
    command = [sys.argv[1], "--quiet", "--gpu", "cpu", *map(str, args)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@torch.no_grad()
def logits(model):
    return model(torch.tensor([IDS])).logits[0]


def published(folder):
    """Loads the checkpoint with transformers; all names must match."""
    config = common.new_model(json.loads((folder / "config.json").read_text())).config
    model, info = CodeGenForCausalLM.from_pretrained(
        folder, config=config, dtype=torch.float32, output_loading_info=True
    )
    wrong = {kind: names for kind, names in info.items() if names}
    assert not wrong, wrong
    return model.eval()


def ours(folder, work):
    ids, out = ",".join(map(str, IDS)), work / "logits.safetensors"
    moss("logits", "--model", folder, "--ids", ids, "--out", out, "--force")
    return load_file(out)["logits"]


def check_conversions(work):
    expected = logits(published(SOURCE))
    moss("convert", SOURCE, work / "safe", "--to", "safetensors", "--max-shard-size", "0.001")
    moss("convert", work / "safe", work / "bin", "--to", "bin")
    moss("convert", work / "bin", work / "one", "--to", "safetensors")
    index = json.loads((work / "safe/model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 3
    for name in ["safe", "bin", "one"]:
        assert torch.equal(logits(published(work / name)), expected), name
        print(f"{name}: all names match, logits are bit-identical")
    difference = (ours(work / "safe", work) - expected).abs().max()
    print(f"moss-cli's logits: largest difference {difference:.1e}")


def check_quantised(work):
    containers, orders = ("bin", "safetensors"), ([], ["--act-order"])
    for bits, container, order in itertools.product((4, 8), containers, orders):
        name = "-".join([f"int{bits}", container, *(flag.strip("-") for flag in order)])
        flags = ["--bits", bits, "--container", container, "--samples", 8, *order]
        moss("quantize", SOURCE, work / name, "--no-perplexity", *flags)
        difference = (ours(work / name, work) - logits(common.load(work / name))).abs().max()
        assert difference < TOLERANCE, difference
        print(f"{name}: largest difference of a logit {difference:.1e}")


with tempfile.TemporaryDirectory() as folder:
    check_conversions(pathlib.Path(folder))
    check_quantised(pathlib.Path(folder))
