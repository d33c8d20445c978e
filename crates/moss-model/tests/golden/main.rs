//! Compares every fixture with golden values of the oracle (transformers): logits, hidden states and
//! greedy replies, with any chunking of the prompt.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use moss_checkpoint::Checkpoint;
use moss_cpu::{Activations, ops::RopePrecision};
use moss_model::{
    BlockPool, BlockTable, ComputeDtype, DeviceSpec, HiddenPoint, LanguageModel, LoadOptions,
    LogitRows, ModelError, Moss, SequenceChunk, TokenKind,
};
use moss_testing::{Goldens, fixture, ids};

mod int8_cache;

/// Both compute in f32 on the same weights, with sums in different orders.
const F32_TOL: f32 = 1e-4;
/// The oracle rounds dequantized weights to f32, the kernels do not.
const QUANTIZED_TOL: f32 = 1e-3;
/// Multiple of the error of the oracle's fp16 run, which rounds activations at other points.
const F16_MULTIPLE: f32 = 2.0;

/// Activations have four bits fewer than in f16, relative to the largest input of each group.
const INT8_MULTIPLE: f32 = F16_MULTIPLE * 16.0;

fn load(folder: &str, dtype: ComputeDtype, rope_precision: RopePrecision) -> Moss {
    let options = LoadOptions {
        dtype,
        rope_precision,
        ..LoadOptions::cpu(1024)
    };
    open(folder, &options).unwrap()
}

fn rounded() -> LoadOptions {
    LoadOptions {
        dtype: ComputeDtype::F16,
        activations: Activations::Int8,
        ..LoadOptions::cpu(1024)
    }
}

fn open(folder: &str, options: &LoadOptions) -> Result<Moss, ModelError> {
    let checkpoint = Checkpoint::open(fixture(folder)).unwrap();
    Moss::load(&checkpoint, options, &mut |_| {})
}

fn run(model: &mut Moss, ids: &[u32], chunk: usize) -> Vec<f32> {
    let mut pool = BlockPool::new(model.cache_shape());
    let mut blocks = BlockTable::default();
    pool.grow(&mut blocks, ids.len()).unwrap();
    let mut logits = Vec::new();
    for (index, token_ids) in ids.chunks(chunk).enumerate() {
        let chunk = SequenceChunk {
            token_ids,
            kind: TokenKind::Prompt,
            start_pos: index * chunk,
            blocks: &blocks,
            logits: LogitRows::All,
        };
        logits.extend_from_slice(model.forward(&[chunk], &|| false).unwrap()[0].values());
    }
    logits
}

fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

fn check_logits(
    folder: &str,
    expected: &Goldens,
    dtype: ComputeDtype,
    rope: RopePrecision,
    tolerance: f32,
) {
    check_logits_of(&mut load(folder, dtype, rope), folder, expected, tolerance);
}

fn check_logits_of(model: &mut Moss, folder: &str, expected: &Goldens, tolerance: f32) {
    let vocab = model.config().vocab_size;
    let mut worst = 0.0f32;
    for (index, prompt) in expected.prompts().iter().enumerate() {
        let logits = run(model, prompt, usize::MAX);
        let rows = ids(&expected.json["prompts"][index]["logit_rows"]);
        let found: Vec<f32> = rows
            .iter()
            .flat_map(|row| &logits[*row as usize * vocab..][..vocab])
            .copied()
            .collect();
        worst = worst.max(max_difference(
            &found,
            &expected.tensors[&format!("prompt.{index}.logits")],
        ));
        let maxima: Vec<f32> = logits
            .chunks(vocab)
            .map(|row| row.iter().copied().fold(f32::NEG_INFINITY, f32::max))
            .collect();
        worst = worst.max(max_difference(
            &maxima,
            &expected.tensors[&format!("prompt.{index}.max")],
        ));
    }
    assert!(
        worst <= tolerance,
        "{folder}: logits off by {worst}, allowed {tolerance}"
    );
}

fn check_hidden(folder: &str, expected: &Goldens, tolerance: f32) {
    let mut model = load(folder, ComputeDtype::F32, RopePrecision::F32);
    let prompt = &expected.prompts()[expected.json["hidden_prompt"].as_u64().unwrap() as usize];
    let mut pool = BlockPool::new(model.cache_shape());
    let mut blocks = BlockTable::default();
    pool.grow(&mut blocks, prompt.len()).unwrap();
    let chunk = SequenceChunk {
        token_ids: prompt,
        kind: TokenKind::Prompt,
        start_pos: 0,
        blocks: &blocks,
        logits: LogitRows::All,
    };
    let mut seen = HashMap::new();
    let mut tap = |point: HiddenPoint, values: &[f32]| {
        let name = match point {
            HiddenPoint::Embedding => "hidden.embedding".to_owned(),
            HiddenPoint::Block(layer) => format!("hidden.block.{layer}"),
            HiddenPoint::FinalNorm => "hidden.ln_f".to_owned(),
        };
        seen.insert(name, values.to_vec());
    };
    model
        .forward_traced(&[chunk], &|| false, Some(&mut tap))
        .unwrap();
    let hidden: Vec<_> = expected
        .tensors
        .keys()
        .filter(|name| name.starts_with("hidden."))
        .collect();
    assert!(hidden.len() >= 3, "{folder}: the fixture has hidden states");
    for name in hidden {
        let off = max_difference(&seen[name], &expected.tensors[name]);
        assert!(
            off <= tolerance,
            "{folder}: {name} off by {off}, allowed {tolerance}"
        );
    }
}

/// Compares greedy decoding with the fixtures' repetition penalty. The sampling is implemented here, as
/// a second opinion on the sampler.
fn check_greedy(folder: &str, expected: &Goldens, rope: RopePrecision) {
    let mut model = load(folder, ComputeDtype::F32, rope);
    let prompts = expected.prompts();
    for path in expected.json["greedy"].as_array().unwrap() {
        let mut ids_so_far = prompts[path["prompt"].as_u64().unwrap() as usize].clone();
        let penalty = path["repetition_penalty"].as_f64().unwrap() as f32;
        let tokens = ids(&path["tokens"]);
        let mut pool = BlockPool::new(model.cache_shape());
        let mut blocks = BlockTable::default();
        pool.grow(&mut blocks, ids_so_far.len() + tokens.len())
            .unwrap();
        let mut start_pos = 0;
        for expected in &tokens {
            let token_ids = &ids_so_far[start_pos..];
            let kind = if start_pos == 0 {
                TokenKind::Prompt
            } else {
                TokenKind::Generated
            };
            let chunk = SequenceChunk {
                token_ids,
                kind,
                start_pos,
                blocks: &blocks,
                logits: LogitRows::Last,
            };
            let mut logits = model.forward(&[chunk], &|| false).unwrap().remove(0);
            start_pos = ids_so_far.len();
            let row = logits.last_mut().unwrap();
            let mut seen = ids_so_far.clone();
            seen.sort_unstable();
            seen.dedup();
            for id in seen {
                let score = &mut row[id as usize];
                *score = if *score < 0.0 {
                    *score * penalty
                } else {
                    *score / penalty
                };
            }
            let best = (0..row.len())
                .max_by(|a, b| row[*a].total_cmp(&row[*b]))
                .unwrap() as u32;
            assert_eq!(
                best, *expected,
                "{folder}: prompt {}, penalty {penalty}",
                path["prompt"]
            );
            ids_so_far.push(best);
        }
    }
}

fn check(folder: &str, values_of: &str, tolerance: f32) {
    let expected = Goldens::read(values_of, "expected");
    check_logits(
        folder,
        &expected,
        ComputeDtype::F32,
        RopePrecision::F32,
        tolerance,
    );
    check_hidden(folder, &expected, tolerance);
    check_greedy(folder, &expected, RopePrecision::F32);
    let f16 = expected.json["max_abs_logit_diff_of_fp16_run"]
        .as_f64()
        .unwrap() as f32
        * F16_MULTIPLE;
    check_logits(
        folder,
        &expected,
        ComputeDtype::F16,
        RopePrecision::F32,
        f16,
    );
}

#[test]
fn sharded_pickles_match_the_oracle() {
    check("tiny-fp16-bin", "tiny-fp16-bin", F32_TOL);
}

#[test]
fn sharded_safetensors_match_the_oracle() {
    check("tiny-fp16-safetensors", "tiny-fp16-bin", F32_TOL);
}

#[test]
fn one_safetensors_file_matches_the_oracle() {
    check("mini-fp16-safetensors", "mini-fp16-safetensors", F32_TOL);
}

#[test]
fn int4_matches_the_oracle() {
    check("tiny-int4", "tiny-int4", QUANTIZED_TOL);
}

#[test]
fn int4_act_order_matches_the_oracle() {
    check("mini-int4-act-order", "mini-int4-act-order", QUANTIZED_TOL);
}

#[test]
fn int8_matches_the_oracle() {
    check("mini-int8", "mini-int8", QUANTIZED_TOL);
}

#[test]
fn int8_act_order_matches_the_oracle() {
    check("mini-int8-act-order", "mini-int8-act-order", QUANTIZED_TOL);
}

#[test]
fn heads_of_the_published_size_match_the_oracle() {
    check("wide-int4", "wide-int4", QUANTIZED_TOL);
}

#[test]
fn rounded_rotary_frequencies_match_the_published_quantized_models() {
    let expected = Goldens::read("wide-int4", "expected_fp16_rope");
    check_logits(
        "wide-int4",
        &expected,
        ComputeDtype::F32,
        RopePrecision::F16,
        QUANTIZED_TOL,
    );
    check_greedy("wide-int4", &expected, RopePrecision::F16);
}

#[test]
fn bf16_stays_within_eight_bits_of_the_oracle() {
    let expected = Goldens::read("tiny-fp16-bin", "expected");
    let f16 = expected.json["max_abs_logit_diff_of_fp16_run"]
        .as_f64()
        .unwrap() as f32;
    // bf16 has three bits fewer than f16.
    check_logits(
        "tiny-fp16-bin",
        &expected,
        ComputeDtype::BF16,
        RopePrecision::F32,
        f16 * 8.0 * F16_MULTIPLE,
    );
}

#[test]
fn int8_activations_stay_within_seven_bits_of_the_oracle() {
    for folder in [
        "tiny-int4",
        "mini-int4-act-order",
        "mini-int8",
        "mini-int8-act-order",
        "wide-int4",
    ] {
        let expected = Goldens::read(folder, "expected");
        let f16 = expected.json["max_abs_logit_diff_of_fp16_run"]
            .as_f64()
            .unwrap() as f32;
        let mut model = open(folder, &rounded()).unwrap();
        check_logits_of(&mut model, folder, &expected, f16 * INT8_MULTIPLE);
    }
}

#[test]
fn int8_activations_are_rejected_in_f32_on_a_gpu_and_with_dense_weights() {
    let error_of = |folder: &str, options: LoadOptions| open(folder, &options).unwrap_err();
    let exact = error_of(
        "tiny-int4",
        LoadOptions {
            dtype: ComputeDtype::F32,
            ..rounded()
        },
    );
    assert!(
        matches!(exact, ModelError::ActivationsNotExact) && exact.hint().is_some(),
        "{exact}"
    );
    let gpu = DeviceSpec::Gpu {
        ordinal: 0,
        newest_code: None,
    };
    let on_gpu = error_of(
        "tiny-int4",
        LoadOptions {
            devices: vec![DeviceSpec::Cpu, gpu],
            ..rounded()
        },
    );
    assert!(
        matches!(on_gpu, ModelError::ActivationsOffCpu { device } if device == gpu),
        "{on_gpu}"
    );
    let dense = error_of("tiny-fp16-bin", rounded());
    assert!(
        matches!(dense, ModelError::Kernel { .. }) && dense.hint().is_some(),
        "{dense}"
    );
}

#[test]
fn logits_have_the_same_bits_for_any_chunking_of_the_prompt() {
    let exact = |folder| (folder, load(folder, ComputeDtype::F32, RopePrecision::F32));
    let models = [
        "tiny-fp16-bin",
        "tiny-int4",
        "mini-int8-act-order",
        "wide-int4",
    ]
    .map(exact);
    let with_int8 = ["tiny-int4", "mini-int8-act-order"]
        .map(|folder| (folder, open(folder, &rounded()).unwrap()));
    for (folder, mut model) in models.into_iter().chain(with_int8) {
        let vocab = model.config().vocab_size as u32;
        let prompt: Vec<u32> = (0..70).map(|i| i * 7 % vocab.min(150)).collect();
        let whole = run(&mut model, &prompt, usize::MAX);
        for chunk in [1, 2, 7, 16, 33] {
            assert!(
                run(&mut model, &prompt, chunk) == whole,
                "{folder}: chunks of {chunk}"
            );
        }
    }
}

#[test]
fn a_sequence_has_the_same_bits_alone_and_in_a_batch() {
    let mut model = load("tiny-int4", ComputeDtype::F32, RopePrecision::F32);
    let prompts: Vec<Vec<u32>> = (1..6u32)
        .map(|n| (0..n * 9).map(|i| (i * n * 31) % 1500).collect())
        .collect();
    let alone: Vec<_> = prompts
        .iter()
        .map(|prompt| run(&mut model, prompt, usize::MAX))
        .collect();
    let mut pool = BlockPool::new(model.cache_shape());
    // The tables grow alternately, so that no sequence has consecutive blocks.
    let mut tables: Vec<_> = prompts.iter().map(|_| BlockTable::default()).collect();
    for positions in (1..=48).step_by(16) {
        for (table, prompt) in tables.iter_mut().zip(&prompts) {
            pool.grow(table, positions.min(prompt.len())).unwrap();
        }
    }
    let batch: Vec<_> = prompts
        .iter()
        .zip(&tables)
        .map(|(prompt, blocks)| SequenceChunk {
            token_ids: prompt,
            kind: TokenKind::Prompt,
            start_pos: 0,
            blocks,
            logits: LogitRows::All,
        })
        .collect();
    let together = model.forward(&batch, &|| false).unwrap();
    for (together, alone) in together.iter().zip(&alone) {
        assert!(together.values() == alone);
    }
}

/// The states of a pass at each point.
type Trace = Vec<(HiddenPoint, Vec<f32>)>;

fn traced(model: &mut Moss, batch: &[SequenceChunk<'_>]) -> (Vec<Vec<f32>>, Trace) {
    let mut trace = Vec::new();
    let mut tap = |point, values: &[f32]| trace.push((point, values.to_vec()));
    let logits = model
        .forward_traced(batch, &|| false, Some(&mut tap))
        .unwrap();
    let logits = logits.into_iter().map(|logits| logits.into_values());
    (logits.collect(), trace)
}

#[test]
fn a_mixed_batch_has_the_bits_of_each_chunk_alone_in_the_order_of_the_request() {
    for folder in ["tiny-int4", "mini-fp16-safetensors"] {
        let mut model = load(folder, ComputeDtype::F32, RopePrecision::F32);
        let vocab = model.config().vocab_size as u32;
        let mut pool = BlockPool::new(model.cache_shape());
        let sequence = |n: u32| {
            let ids: Vec<u32> = (0..n * 7).map(|i| (i * n * 31) % vocab).collect();
            let mut blocks = BlockTable::default();
            pool.grow(&mut blocks, ids.len()).unwrap();
            (ids, blocks)
        };
        let sequences: Vec<_> = (1..=12).map(sequence).collect();
        // Prompts, decode steps and draft tokens alternate. The 110 generated tokens are two
        // micro-batches.
        let mut batch = Vec::new();
        for (index, (ids, blocks)) in sequences.iter().enumerate() {
            let (start_pos, kind) = match index % 3 {
                0 => (0, TokenKind::Prompt),
                1 => (ids.len() - 1, TokenKind::Generated),
                _ => (ids.len() / 2, TokenKind::Generated),
            };
            let chunk = |tokens: std::ops::Range<usize>, kind, logits| SequenceChunk {
                token_ids: &ids[tokens.clone()],
                kind,
                start_pos: tokens.start,
                blocks,
                logits,
            };
            if start_pos > 0 {
                let before = chunk(0..start_pos, TokenKind::Prompt, LogitRows::None);
                model.forward(&[before], &|| false).unwrap();
            }
            let logits = [LogitRows::All, LogitRows::Last, LogitRows::None][index / 2 % 3];
            batch.push(chunk(start_pos..ids.len(), kind, logits));
        }
        let alone: Vec<_> = batch
            .iter()
            .map(|chunk| traced(&mut model, std::slice::from_ref(chunk)))
            .collect();
        let (logits, trace) = traced(&mut model, &batch);
        for (index, ((expected, _), found)) in alone.iter().zip(&logits).enumerate() {
            assert!(*found == expected[0], "{folder}: logits of chunk {index}");
        }
        let points = model.config().num_layers + 2;
        assert_eq!(trace.len(), points, "each point is shown once");
        for (point, found) in &trace {
            let states = alone.iter().flat_map(|(_, trace)| trace);
            let expected = states
                .filter(|(of, _)| of == point)
                .flat_map(|(_, values)| values);
            assert!(found.iter().eq(expected), "{folder}: states at {point:?}");
        }
    }
}
