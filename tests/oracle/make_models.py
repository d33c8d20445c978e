"""Writes the small model fixtures and the outputs that are expected of them.

The oracle is the CodeGenForCausalLM of transformers in fp32 on the CPU. It is loaded with exactly
the values that the files contain: fp16 upcast to fp32, or int4/int8 dequantized.

Usage: make_models.py --tokenizer DIR --out DIR [--specs specs.json] [--only NAME]
"""

import argparse
import json
import os
import pathlib
import random
import time

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import CodeGenConfig, CodeGenForCausalLM
from transformers.generation.logits_process import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

import checkpoint
import corpus

SPECS = pathlib.Path(__file__).with_name("specs.json")
PENALTIES = (1.0, 1.02, 1.3)
SAMPLERS = [
    {"repetition_penalty": 1.02, "temperature": 0.7, "top_k": 40, "top_p": 0.8},
    {"repetition_penalty": 1.02, "temperature": 0.7, "top_k": 50, "top_p": 0.8},
    {"repetition_penalty": 1.02, "temperature": 0.7, "top_k": 0, "top_p": 0.8},
    {"repetition_penalty": 1.3, "temperature": 1.0, "top_k": 0, "top_p": 0.95},
    {"repetition_penalty": 1.0, "temperature": 1.5, "top_k": 5, "top_p": 1.0},
]
CHAT_SHAPES = [
    "<|Human|>: {}<eoh>\n<|MOSS|>:",
    "{}",
    "You are an AI assistant whose name is MOSS.\n<|Human|>: {}<eoh>\n<|MOSS|>:",
]


def random_state(spec, generator):
    """Returns random weights with so much spread that logits depend on every layer."""
    n, vocabulary = spec["n_embd"], spec["vocab_size"]
    inner = spec.get("n_inner") or 4 * n

    def normal(rows, columns, gain):
        return torch.randn(rows, columns, generator=generator) * (gain / columns**0.5)

    def vector(size, mean, std):
        return mean + std * torch.randn(size, generator=generator)

    state = {"transformer.wte.weight": torch.randn(vocabulary, n, generator=generator) * 0.6}
    for layer in range(spec["n_layer"]):
        prefix = f"transformer.h.{layer}."
        state[prefix + "ln_1.weight"] = vector(n, 1.0, 0.2)
        state[prefix + "ln_1.bias"] = vector(n, 0.0, 0.1)
        state[prefix + "attn.qkv_proj.weight"] = normal(3 * n, n, 1.4)
        state[prefix + "attn.out_proj.weight"] = normal(n, n, 1.2)
        state[prefix + "mlp.fc_in.weight"] = normal(inner, n, 1.4)
        state[prefix + "mlp.fc_in.bias"] = vector(inner, 0.0, 0.2)
        state[prefix + "mlp.fc_out.weight"] = normal(n, inner, 1.2)
        state[prefix + "mlp.fc_out.bias"] = vector(n, 0.0, 0.1)
    state["transformer.ln_f.weight"] = vector(n, 1.0, 0.2)
    state["transformer.ln_f.bias"] = vector(n, 0.0, 0.1)
    state["lm_head.weight"] = normal(vocabulary, n, spec.get("head_gain", 3.5))
    state["lm_head.bias"] = vector(vocabulary, 0.0, 0.3)
    return state


def oracle(spec, weights):
    config = CodeGenConfig(
        vocab_size=spec["vocab_size"],
        n_positions=spec["n_ctx"],
        n_ctx=spec["n_ctx"],
        n_embd=spec["n_embd"],
        n_layer=spec["n_layer"],
        n_head=spec["n_head"],
        rotary_dim=spec["rotary_dim"],
        n_inner=spec.get("n_inner"),
        activation_function="gelu_new",
        layer_norm_epsilon=1e-5,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        tie_word_embeddings=False,
        bos_token_id=spec["bos"],
        eos_token_id=spec["eos"],
    )
    model = CodeGenForCausalLM(config).eval()
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=True)
    return model


def round_rotary_frequencies(model, spec):
    """Rounds the rotary frequencies to fp16, as the published int4/int8 code does.

    Its constructor runs under a default dtype of fp16, which rounds exponent, power and reciprocal;
    angles, sines and cosines stay in fp32.
    """
    dim = spec["rotary_dim"]
    exponent = (torch.arange(0, dim, 2).float() / dim).half().float()
    power = (10000.0**exponent).half().float()
    frequency = (1.0 / power).half().float()
    angle = torch.arange(spec["n_ctx"]).float()[:, None] * frequency[None]
    table = torch.cat((torch.sin(angle), torch.cos(angle)), dim=1)
    for block in model.transformer.h:
        block.attn.embed_positions = table


@torch.no_grad()
def logits_of(model, ids, cache=None):
    out = model(ids, past_key_values=cache, use_cache=True)
    return out.logits.float(), out.past_key_values


@torch.no_grad()
def greedy(model, ids, steps, penalty):
    """Continues a batch [B, T] greedily.

    Returns the new tokens, and for each step the difference between the best two scores.
    """
    processor = RepetitionPenaltyLogitsProcessor(penalty)
    sequence, cache, feed, gaps = ids, None, ids, []
    for _ in range(steps):
        logits, cache = logits_of(model, feed, cache)
        scores = processor(sequence, logits[:, -1, :].clone())
        best = scores.topk(2, dim=-1)
        gaps.append(best.values[:, 0] - best.values[:, 1])
        feed = best.indices[:, :1]
        sequence = torch.cat((sequence, feed), dim=1)
    return sequence[:, ids.shape[1] :], torch.stack(gaps, dim=1)


def processors(params):
    steps = LogitsProcessorList()
    if params["repetition_penalty"] != 1.0:
        steps.append(RepetitionPenaltyLogitsProcessor(params["repetition_penalty"]))
    if params["temperature"] != 1.0:
        steps.append(TemperatureLogitsWarper(params["temperature"]))
    if params["top_k"] > 0:
        steps.append(TopKLogitsWarper(params["top_k"]))
    if params["top_p"] < 1.0:
        steps.append(TopPLogitsWarper(params["top_p"]))
    return steps


def sampled(context, logits, params):
    """Returns [token, probability] of every token that the filters keep, most probable first."""
    scores = processors(params)(context[None], logits[None].clone())
    probabilities = torch.softmax(scores, dim=-1)[0]
    kept = torch.nonzero(probabilities > 0).flatten()
    order = kept[torch.argsort(probabilities[kept], descending=True, stable=True)]
    return [[int(i), float(probabilities[i])] for i in order]


def margin(context, logits, params):
    """Returns how far the filters are from keeping one token more or less.

    This is the smaller of the difference of the scores at the top-k border and the distance in
    probability at the top-p border.
    """
    out = float("inf")
    unfiltered = {**params, "top_k": 0, "top_p": 1.0}
    scores = processors(unfiltered)(context[None], logits[None].clone())[0]
    if 0 < params["top_k"] < scores.numel():
        best = scores.topk(params["top_k"] + 1).values
        out = float(best[-2] - best[-1])
    if params["top_p"] < 1.0:
        scores = processors({**params, "top_p": 1.0})(context[None], logits[None].clone())[0]
        probabilities = torch.softmax(scores, dim=-1).sort(descending=True).values
        before = torch.cumsum(probabilities, 0) - probabilities
        distance = (before - params["top_p"]).abs()[probabilities > 0]
        out = min(out, float(distance.min()))
    return out


def choose(model, half, make, steps, want_gap, tries):
    """Draws batches of prompts until one prompt has clear gaps on every greedy path.

    The fp16 model must take the same paths. Returns the prompt's smallest gap and its ids.
    """
    best = None
    for _ in range(tries):
        batch = make()
        runs = [greedy(model, batch, steps, penalty) for penalty in PENALTIES]
        gap = torch.stack([gaps.min(dim=1).values for _, gaps in runs]).min(dim=0).values
        varied = torch.tensor([len(set(row.tolist())) for row in runs[0][0]])
        gap = torch.where(varied >= min(8, steps), gap, torch.tensor(-1.0))
        i = int(gap.argmax())
        prompt = batch[i : i + 1]
        if best is None or gap[i] > best[0]:
            same = all(
                torch.equal(greedy(half, prompt, steps, penalty)[0], tokens[i : i + 1])
                for penalty, (tokens, _) in zip(PENALTIES, runs)
            )
            if same:
                best = (float(gap[i]), prompt.clone())
        if best is not None and best[0] >= want_gap:
            break
    assert best is not None and best[0] > 0, "no stable prompt found"
    return best


def text_candidates(spec, seed):
    """Yields prompts made of the texts of the spec and of lines of the corpus."""
    lines = list(spec["texts"])
    if spec.get("corpus_texts"):
        fits = (line for line in corpus.lines() if 8 <= len(line) <= 60)
        lines += [line for line in fits if not line.startswith("<|")]
    random.Random(seed).shuffle(lines)
    for shape in CHAT_SHAPES:
        for line in lines:
            yield line if line.startswith("<|") else shape.format(line)


def random_prompts(spec, model, half, generator):
    """Returns (None, ids, gap) for a prompt of random tokens of each length."""
    usable = spec.get("prompt_vocab", spec["vocab_size"])
    steps = spec.get("steps", 32)
    prompts = []
    for length in spec.get("lengths", [1, 7, 64, 200]):
        size = (64 if length < 100 else 24, length)

        def make():
            return torch.randint(0, usable, size, generator=generator)

        want, tries = spec.get("want_gap", 0.05), spec.get("tries", 12)
        gap, ids = choose(model, half, make, steps, want, tries)
        prompts.append((None, ids, gap))
    return prompts


def text_prompts(spec, model, half, encode, seed):
    """Returns (text, ids, gap) for the first few texts that are as stable as random prompts."""
    want, steps, prompts = spec.get("want_gap", 0.05), spec.get("steps", 32), []
    for text in text_candidates(spec, seed):
        ids = torch.tensor([encode(text)])
        smallest = float("inf")
        for penalty in PENALTIES:
            tokens, gaps = greedy(model, ids, steps, penalty)
            smallest = min(smallest, float(gaps.min()))
            same = smallest >= want and torch.equal(greedy(half, ids, steps, penalty)[0], tokens)
            if not same:
                break
        else:
            prompts.append((text, ids, smallest))
            if len(prompts) == spec.get("keep_texts", 3):
                break
    return prompts


def full_rows(n):
    """Returns the positions of a prompt of `n` tokens whose whole rows of logits are stored."""
    return list(range(n)) if n <= 7 else sorted({0, n // 3, n // 2, n - 2, n - 1})


def hidden_states(model, ids, layers):
    """Returns the embedding, the output of every block, and that of the final layer norm."""
    caught = []

    def catch(_module, _inputs, output):
        caught.append(output[0] if isinstance(output, tuple) else output)

    modules = [*model.transformer.h, model.transformer.ln_f]
    hooks = [module.register_forward_hook(catch) for module in modules]
    model(ids)
    for hook in hooks:
        hook.remove()
    positions = ids.shape[1]
    tensors = {"hidden.embedding": model.transformer.wte(ids)[0].contiguous()}
    for layer in range(layers):
        tensors[f"hidden.block.{layer}"] = caught[layer].reshape(positions, -1).contiguous()
    tensors["hidden.ln_f"] = caught[-1].reshape(positions, -1).contiguous()
    return tensors


def greedy_path(model, ids, steps, penalty):
    """Returns tokens, gaps, and the logits of the whole path, computed again without a cache."""
    tokens, gaps = greedy(model, ids, steps, penalty)
    n = ids.shape[1]
    whole = model(torch.cat((ids, tokens), 1)).logits[0].float()
    processor = RepetitionPenaltyLogitsProcessor(penalty)
    for step in range(steps):
        context = torch.cat((ids, tokens[:, :step]), 1)
        best = processor(context, whole[None, n + step - 1].clone()).argmax()
        assert int(best) == int(tokens[0, step])
    return tokens, gaps, whole


def sampling_sets(prompt, ids, tokens, whole):
    """Yields what the samplers keep at some steps of a greedy path."""
    for generated in (0, 3, 11, tokens.shape[1] - 1):
        context = torch.cat((ids[0], tokens[0, :generated]))
        logits = whole[ids.shape[1] + generated - 1]
        for params in SAMPLERS:
            kept = sampled(context, logits, params)
            room = margin(context, logits, params)
            if len(kept) <= 200 and room >= 2e-3:
                place = {"prompt": prompt, "generated": generated}
                yield {**place, **params, "margin": round(room, 5), "kept": kept}


@torch.no_grad()
def write_expected(spec, weights, encode, folder, seed, half_rope=False):
    generator = torch.Generator().manual_seed(seed)
    model = oracle(spec, weights)
    half = oracle(spec, weights)
    if half_rope:
        round_rotary_frequencies(model, spec)
        round_rotary_frequencies(half, spec)
    half = half.half()
    steps = spec.get("steps", 32)
    prompts = random_prompts(spec, model, half, generator)
    if encode is not None:
        prompts += text_prompts(spec, model, half, encode, seed)

    tensors, doc = {}, {"model": spec["name"], "prompts": [], "greedy": [], "sampling": []}
    worst_half = 0.0
    for i, (text, ids, gap) in enumerate(prompts):
        logits = model(ids).logits[0].float()
        difference = (half(ids).logits[0].float() - logits).abs().max()
        worst_half = max(worst_half, float(difference))
        rows = full_rows(ids.shape[1])
        doc["prompts"].append(
            {"text": text, "ids": ids[0].tolist(), "logit_rows": rows, "min_gap": round(gap, 5)}
        )
        tensors[f"prompt.{i}.logits"] = logits[rows].contiguous()
        tensors[f"prompt.{i}.argmax"] = logits.argmax(-1).to(torch.int32).contiguous()
        tensors[f"prompt.{i}.max"] = logits.max(-1).values.contiguous()
        tensors[f"prompt.{i}.logsumexp"] = torch.logsumexp(logits, -1).contiguous()
        for penalty in PENALTIES:
            tokens, gaps, whole = greedy_path(model, ids, steps, penalty)
            doc["greedy"].append(
                {
                    "prompt": i,
                    "repetition_penalty": penalty,
                    "tokens": tokens[0].tolist(),
                    "min_gap": round(float(gaps.min()), 5),
                }
            )
            if penalty == 1.02:
                doc["sampling"] += sampling_sets(i, ids, tokens, whole)

    hidden_prompt = next(i for i, (_, ids, _) in enumerate(prompts) if ids.shape[1] == 7)
    tensors |= hidden_states(model, prompts[hidden_prompt][1], spec["n_layer"])
    min_gap = min(gap for _, _, gap in prompts)
    doc["hidden_prompt"] = hidden_prompt
    doc["max_abs_logit_diff_of_fp16_run"] = round(worst_half, 5)
    doc["min_gap"] = round(min_gap, 5)
    rounded = "rounded to fp16, as upstream does for int4/int8"
    doc["rotary_frequencies"] = rounded if half_rope else "fp32"
    suffix = "_fp16_rope" if half_rope else ""
    save_file(tensors, f"{folder}/expected{suffix}.safetensors")
    with open(f"{folder}/expected{suffix}.json", "w", encoding="utf-8") as file:
        json.dump(doc, file)
        file.write("\n")
    print(
        f"  {os.path.basename(folder)}{suffix}: {len(prompts)} prompts, smallest gap {min_gap:.4f},"
        f" {len(doc['sampling'])} sampling sets, logits of the fp16 run within {worst_half:.4f}",
        flush=True,
    )


def load_tokenizer(folder):
    """Returns the function that encodes a text with the tokenizer of `folder`."""
    model = models.BPE.from_file(f"{folder}/vocab.json", f"{folder}/merges.txt")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", normalized=False)])
    with open(f"{folder}/added_tokens.json", encoding="utf-8") as file:
        added = json.load(file)
    for content, _ in sorted(added.items(), key=lambda item: item[1]):
        tokenizer.add_special_tokens([AddedToken(content, normalized=False)])
    assert all(tokenizer.token_to_id(token) == i for token, i in added.items())
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def write_form(spec, form, state, encode, folder, generator):
    """Writes a model in one file layout, and its expected outputs."""
    os.makedirs(folder, exist_ok=True)
    if form["kind"] == "fp16":
        stored = {name: tensor.half() for name, tensor in state.items()}
        full = {name: tensor.float() for name, tensor in stored.items()}
        config = checkpoint.config_json(spec, 32, form.get("with_bits", True))
    else:
        bits = {"int4": 4, "int8": 8}[form["kind"]]
        act_order = form.get("act_order", False)
        stored, full = checkpoint.quantize_state(state, spec, bits, act_order, generator)
        config = checkpoint.config_json(spec, bits)
    checkpoint.write_config(folder, config)
    masks = {"bool": torch.bool, "uint8": torch.uint8}.get(form.get("masks"))
    if masks is not None:
        stored = checkpoint.with_causal_masks(stored, spec, masks)
    as_safetensors = form["file"] == "safetensors"
    save = checkpoint.save_safetensors if as_safetensors else checkpoint.save_bin
    save(folder, stored, form.get("shards", 1))
    if same_as := form.get("same_as"):
        with open(f"{folder}/expected.txt", "w", encoding="utf-8") as file:
            file.write(f"same weights as {same_as}: use its expected.json and ")
            file.write("expected.safetensors\n")
        return
    write_expected(spec, full, encode, folder, spec["seed"] + 1)
    if form.get("half_rope"):
        write_expected(spec, full, encode, folder, spec["seed"] + 2, half_rope=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--specs", default=SPECS)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", help="name of one spec")
    args = parser.parse_args()
    torch.set_num_threads(1)
    encode = load_tokenizer(args.tokenizer)
    with open(args.specs, encoding="utf-8") as file:
        specs = json.load(file)
    for spec in specs:
        if args.only and spec["name"] != args.only:
            continue
        start = time.time()
        generator = torch.Generator().manual_seed(spec["seed"])
        state = random_state(spec, generator)
        print(spec["name"], sum(t.numel() for t in state.values()), "parameters", flush=True)
        for form in spec["forms"]:
            folder = f"{args.out}/{form['folder']}"
            texts = encode if spec.get("texts") else None
            write_form(spec, form, state, texts, folder, generator)
        print(f"  {time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
