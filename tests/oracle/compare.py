"""Compares regenerated fixtures with those of the repository.

Files should have the same bytes. Where they do not, their contents are compared: text, token ids,
settings and stored weights exactly, and numbers that the oracle computed within the tolerances
below, because another processor adds in another order.

Usage: compare.py REGENERATED EXPECTED
"""

import json
import math
import pathlib
import sys

import torch
from safetensors.torch import load_file

# Upstream's own code differs from the oracle by 2e-5; an engine may differ by 1e-4.
LOGITS = 2e-5
# By the last key on the way to a number in a JSON file. Anything else must be equal.
TOLERANCES = {
    "kept": 1e-5,  # probabilities
    "logits": 1e-5,  # rounded to six digits, computed in double precision
    "margin": 3e-5,  # rounded to five digits; of scores that are divided by a temperature
    "min_gap": 3e-4,  # the demo's are rounded to four digits
    "max_abs_logit_diff_of_fp16_run": 5e-3,  # of a run that rounds each sum to fp16
}


def json_differences(made, expected, path="", key=""):
    """Yields a line for each difference beyond the tolerance of its key."""
    if isinstance(made, dict) and isinstance(expected, dict):
        for name in sorted(made.keys() | expected.keys()):
            if name not in made or name not in expected:
                yield f"{path}/{name}: only in one of them"
            else:
                yield from json_differences(made[name], expected[name], f"{path}/{name}", name)
    elif isinstance(made, list) and isinstance(expected, list) and len(made) == len(expected):
        for i, (a, b) in enumerate(zip(made, expected)):
            yield from json_differences(a, b, f"{path}/{i}", key)
    elif isinstance(made, float) and isinstance(expected, float):
        if not math.isclose(made, expected, rel_tol=0, abs_tol=TOLERANCES.get(key, 0)):
            yield f"{path}: {made}, expected {expected}"
    elif made != expected:
        yield f"{path}: {made!r}, expected {expected!r}"


def tensor_differences(made, expected, tolerance):
    """Yields a line for each tensor that differs; integers must be equal."""
    for name in sorted(made.keys() | expected.keys()):
        if name not in made or name not in expected:
            yield f"{name}: only in one of them"
            continue
        a, b = made[name], expected[name]
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            kinds = [f"{t.dtype} {list(t.shape)}" for t in (a, b)]
            yield f"{name}: {kinds[0]}, expected {kinds[1]}"
            continue
        allowed = tolerance if a.dtype == torch.float32 else 0
        difference = float((a.double() - b.double()).abs().max())
        if difference > allowed:
            yield f"{name}: differs by {difference:.2g}, expected at most {allowed:.2g}"


def differences(made, expected):
    """Yields the differences between the contents of two files."""
    if made.suffix == ".json":
        documents = [json.loads(path.read_text("utf-8")) for path in (made, expected)]
        yield from json_differences(*documents)
    elif made.suffix == ".jsonl":
        lines = [path.read_text("utf-8").splitlines() for path in (made, expected)]
        yield from json_differences(*([json.loads(line) for line in file] for file in lines))
    elif made.suffix == ".safetensors":
        tolerance = LOGITS if made.stem.startswith("expected") else 0
        yield from tensor_differences(load_file(made), load_file(expected), tolerance)
    elif made.suffix == ".bin":
        states = (torch.load(path, weights_only=True) for path in (made, expected))
        yield from tensor_differences(*states, 0)
    else:
        yield "other bytes"


def main():
    made_folder, expected_folder = map(pathlib.Path, sys.argv[1:])
    identical, failed = 0, 0
    files = sorted(path for path in made_folder.rglob("*") if path.is_file())
    for made in files:
        name = made.relative_to(made_folder)
        expected = expected_folder / name
        if not expected.exists():
            print(f"{name}: not in {expected_folder}")
            failed += 1
        elif made.read_bytes() == expected.read_bytes():
            identical += 1
        else:
            found = list(differences(made, expected))
            failed += bool(found)
            print(f"{name}: {'DIFFERENT' if found else 'equal within the tolerances'}")
            for line in found[:10]:
                print(f"    {line}")
            if len(found) > 10:
                print(f"    and {len(found) - 10} more")
    equal = len(files) - identical - failed
    print(f"{identical} files identical, {equal} equal within the tolerances, {failed} different")
    return 1 if failed or not files else 0


if __name__ == "__main__":
    sys.exit(main())
