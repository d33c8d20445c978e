//! Sampling: the same tokens as [`SampleRequest::draw`].
//!
//! Each token is the result of every operation before it, so a case has up to 256 rows, whose random
//! numbers are spread over `[0, 1)`.

use std::cell::RefCell;

use moss_cuda::{DeviceSampler, Gpu};
use moss_sampling::SampleRequest;
use moss_weights::{KernelError, Rule, synthetic::noise};

use super::{
    harness::{Case, Prepared},
    tolerance::Tolerance,
};

/// The published vocabulary.
const VOCABULARY: usize = 107_008;

const CHAT: SampleRequest<'static> = SampleRequest {
    history: &[],
    repetition_penalty: 1.02,
    temperature: 0.7,
    top_k: 40,
    top_p: 0.8,
    min_p: 0.0,
    stop_ids: &[],
    stop_factor: 1.0,
    allowed: usize::MAX,
    uniform: 0.5,
};

const GREEDY: SampleRequest<'static> = SampleRequest {
    temperature: 0.0,
    top_k: 1,
    ..CHAT
};

/// All candidates that are supported, in the order of their ids.
const ALL: SampleRequest<'static> = SampleRequest {
    repetition_penalty: 1.3,
    temperature: 1.0,
    top_k: 256,
    top_p: 1.0,
    allowed: VOCABULARY - 700,
    ..CHAT
};

/// The requests of a case: rows without one are `None`.
type Requests = Vec<Option<SampleRequest<'static>>>;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = of_settings();
    cases.extend(of_rows());
    cases.extend(of_damage());
    cases
}

/// Each setting at several vocabularies.
fn of_settings() -> Vec<Case> {
    let settings = [
        ("a chat", CHAT),
        ("greedy", GREEDY),
        ("256 candidates", ALL),
        ("top_p 0", SampleRequest { top_p: 0.0, ..CHAT }),
        (
            "top_p 0.95 of 256",
            SampleRequest {
                top_k: 256,
                top_p: 0.95,
                ..CHAT
            },
        ),
        (
            "min_p",
            SampleRequest {
                min_p: 0.3,
                top_p: 1.0,
                ..CHAT
            },
        ),
        ("min_p after top_p", SampleRequest { min_p: 0.3, ..CHAT }),
        (
            "no penalty",
            SampleRequest {
                repetition_penalty: 1.0,
                ..CHAT
            },
        ),
        (
            "a low temperature",
            SampleRequest {
                temperature: 0.01,
                top_p: 1.0,
                ..CHAT
            },
        ),
    ];
    let mut cases = Vec::new();
    for vocab in [VOCABULARY, 131_072, 320, 1025, 41] {
        for (what, request) in settings {
            cases.push(sample(vocab, spread(request, 16), what, |_, _| {}));
        }
    }
    let stop = SampleRequest {
        stop_ids: &[3, 5, 8, 13, 21],
        stop_factor: 1.5f64.powi(9),
        ..CHAT
    };
    cases.push(sample(41, spread(stop, 64), "stop tokens", |_, _| {}));
    cases
}

/// Every number of thread blocks, with rows without a request between the others.
fn of_rows() -> Vec<Case> {
    let mixed = |rows: usize| -> Requests {
        let settings = [Some(CHAT), Some(ALL), None, Some(GREEDY)];
        (0..rows)
            .map(|row| {
                let uniform = row as f64 / rows as f64;
                settings[row % 4].map(|request| SampleRequest { uniform, ..request })
            })
            .collect()
    };
    let rows = [1, 16, 17, 64, 128, 256].map(|rows| {
        let what = "mixed settings";
        sample(VOCABULARY, mixed(rows), what, |_, _| {})
    });
    rows.into_iter()
        .chain([sample(1025, mixed(256), "mixed settings", |_, _| {})])
        .collect()
}

/// Ties, and values that are not finite.
fn of_damage() -> Vec<Case> {
    let both = || [spread(CHAT, 8), spread(GREEDY, 2), spread(ALL, 8)].concat();
    let tie: fn(usize, &mut [f32]) = |_, row| {
        row.iter_mut()
            .for_each(|value| *value = (*value * 64.0).round() / 64.0);
    };
    // The best 60 logits are zeros of both signs, which the penalty does not change.
    let zeros: fn(usize, &mut [f32]) = |_, row| {
        row.iter_mut().for_each(|value| *value -= 7.0);
        for (index, value) in row.iter_mut().skip(500).step_by(7).take(60).enumerate() {
            *value = if index % 2 == 0 { 0.0 } else { -0.0 };
        }
    };
    vec![
        sample(VOCABULARY, both(), "ties", tie),
        sample(VOCABULARY, both(), "zeros", zeros),
        sample(2048, both(), "all equal", |_, row| row.fill(0.5)),
        sample(1024, both(), "most are -inf", |_, row| {
            row[30..].fill(f32::NEG_INFINITY)
        }),
        sample(1024, both(), "all are -inf", |_, row| {
            row.fill(f32::NEG_INFINITY)
        }),
        sample(VOCABULARY, both(), "NaN in some rows", |index, row| {
            if index % 2 == 0 {
                row[70_000] = f32::from_bits(0xffc0_0000 | (index as u32 % 4) << 30);
            }
        }),
        sample(VOCABULARY, both(), "infinity in some rows", |index, row| {
            if index % 3 == 0 {
                row[3] = f32::INFINITY;
            }
        }),
        // Differences of scores up to infinity, so that weights are subnormal or 0.
        sample(320, both(), "huge logits", |_, row| {
            row.iter_mut().for_each(|value| *value *= 5e36);
        }),
        sample(320, both(), "large differences", |_, row| {
            row.iter_mut().for_each(|value| *value *= 90.0);
        }),
    ]
}

/// Returns `rows` requests with random numbers from 0 to close to 1.
fn spread(request: SampleRequest<'static>, rows: usize) -> Requests {
    let last = (rows - 1).max(1) as f64;
    (0..rows)
        .map(|row| (row as f64 / last).min(1.0f64.next_down()))
        .map(|uniform| Some(SampleRequest { uniform, ..request }))
        .collect()
}

/// One row of logits for each request, modified by `change`, which gets the row's number.
fn sample(vocab: usize, requests: Requests, what: &str, change: fn(usize, &mut [f32])) -> Case {
    let shape = format!("{} rows of {vocab} logits, {what}", requests.len());
    Case::new("sampling", shape, Tolerance::NONE, move |harness| {
        let (gpu, rows) = (harness.gpu, requests.len());
        let mut logits = noise(rows * vocab, 6.0, 71);
        for (index, row) in logits.chunks_exact_mut(vocab).enumerate() {
            change(index, row);
        }
        // Different lengths, some ids twice, some without a logit.
        let histories: Vec<Vec<u32>> = (0..rows as u32)
            .map(|row| {
                let ids = (0..row * 37 % 600).map(|i| (i + row) * 7919 % (vocab as u32 + 50));
                ids.chain([3, 3]).collect()
            })
            .collect();
        let requests = requests.clone();
        let expected = with_histories(&requests, &histories)
            .zip(logits.chunks_exact(vocab))
            .map(|(request, row)| number(request.and_then(|request| request.draw(row))))
            .collect();
        let sampler = RefCell::new(device_sampler(gpu, rows, vocab)?);
        let logits = gpu.upload(&logits)?;
        let run = move || {
            let mut sampler = sampler.borrow_mut();
            sampler.stage(&with_histories(&requests, &histories).collect::<Vec<_>>())?;
            gpu.batched_memcpy(&sampler.upload(rows)?)?;
            gpu.sample(logits.all(), rows, &sampler)?;
            gpu.batched_memcpy(&[sampler.download(rows)?])?;
            Ok(sampler.tokens()?.map(number).collect())
        };
        Ok(Prepared {
            expected,
            run: Box::new(run),
        })
    })
}

fn device_sampler(gpu: &Gpu, rows: usize, vocab: usize) -> Result<DeviceSampler, KernelError> {
    let none = KernelError::Argument {
        op: "sampling",
        arg: "vocab",
        found: vocab,
        rule: Rule::Fewer,
    };
    DeviceSampler::new(gpu, rows, vocab, 602)?.ok_or(none)
}

fn with_histories<'a>(
    requests: &[Option<SampleRequest<'static>>],
    histories: &'a [Vec<u32>],
) -> impl Iterator<Item = Option<SampleRequest<'a>>> {
    requests
        .iter()
        .zip(histories)
        .map(|(request, history)| request.map(|request| SampleRequest { history, ..request }))
}

/// Returns a token as a number that compares; -1 for a row that is needed whole.
fn number(token: Option<u32>) -> f32 {
    token.map_or(-1.0, |token| token as f32)
}
