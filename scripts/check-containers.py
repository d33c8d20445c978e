"""What moss-cli writes, read by PyTorch, safetensors and transformers: `check-containers.py path/to/moss-cli`.

A converted folder must load in CodeGenForCausalLM.from_pretrained with every name in its place, and give the logits of its source bit for
bit. A quantised folder, dequantised here, must give the logits that moss-cli computes from it. Needs torch, transformers 5 and safetensors.
"""
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
# f32 on both sides, sums in another order.
TOLERANCE = 1e-3


def moss(*args):
    subprocess.run([sys.argv[1], "--quiet", "--gpu", "cpu", *map(str, args)], check=True, stdout=subprocess.DEVNULL)


@torch.no_grad()
def logits(model):
    return model(torch.tensor([IDS])).logits[0]


def published(folder):
    """The folder as transformers loads it: names are strict."""
    config = common.new_model(json.loads((folder / "config.json").read_text())).config
    model, info = CodeGenForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32, output_loading_info=True)
    wrong = {kind: names for kind, names in info.items() if names}
    assert not wrong, wrong
    return model.eval()


def ours(folder, work):
    moss("logits", "--model", folder, "--ids", ",".join(map(str, IDS)), "--out", work / "logits.safetensors", "--force")
    return load_file(work / "logits.safetensors")["logits"]


def check_conversions(work):
    expected = logits(published(SOURCE))
    moss("convert", SOURCE, work / "safe", "--to", "safetensors", "--max-shard-size", "0.001")
    moss("convert", work / "safe", work / "bin", "--to", "bin")
    moss("convert", work / "bin", work / "one", "--to", "safetensors")
    index = json.loads((work / "safe/model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 3
    for name in ["safe", "bin", "one"]:
        assert torch.equal(logits(published(work / name)), expected), name
        print(f"{name}: loads with strict names, logits equal bit for bit")
    print(f"moss-cli's logits: largest difference {(ours(work / 'safe', work) - expected).abs().max():.1e}")


def check_quantised(work):
    flags = [(bits, container, order) for bits in (4, 8) for container in ("bin", "safetensors") for order in ([], ["--act-order"])]
    for bits, container, order in flags:
        name = "-".join([f"int{bits}", container, *(flag.strip("-") for flag in order)])
        moss("quantize", SOURCE, work / name, "--bits", bits, "--container", container, "--samples", 8, "--no-perplexity", *order)
        difference = (ours(work / name, work) - logits(common.load(work / name))).abs().max()
        assert difference < TOLERANCE, difference
        print(f"{name}: largest difference of a logit {difference:.1e}")


with tempfile.TemporaryDirectory() as folder:
    check_conversions(pathlib.Path(folder))
    check_quantised(pathlib.Path(folder))
