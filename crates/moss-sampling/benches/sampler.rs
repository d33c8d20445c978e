//! Cost of one token at MOSS's vocabulary, with 2000 tokens of history: `cargo bench -p
//! moss-sampling`.
//!
//! A peaked row is what a language model gives (a few tokens hold most of the mass); a flat one is
//! the worst that top-p can meet.
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use moss_sampling::{Sampler, SamplingParams};

const VOCABULARY: usize = 107_008;

fn sampler(c: &mut Criterion) {
    let mut state = 1u64;
    let mut noise = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) + 1) as f32 / ((1 << 24) + 1) as f32
    };
    let peaked: Vec<f32> = (0..VOCABULARY).map(|_| noise().ln() * -1.2).collect();
    let flat: Vec<f32> = (0..VOCABULARY).map(|_| noise() * 6.0).collect();
    let history: Vec<u32> = (0..2000)
        .map(|_| (noise() * VOCABULARY as f32) as u32)
        .collect();
    let chat = SamplingParams {
        seed: Some(1),
        ..SamplingParams::CHAT
    };
    let without_top_k = SamplingParams {
        top_k: None,
        ..chat.clone()
    };
    let all = SamplingParams {
        top_p: 1.0,
        ..without_top_k.clone()
    };
    for (name, params, row) in [
        ("chat defaults, peaked", chat.clone(), &peaked),
        ("chat defaults, flat", chat, &flat),
        ("top_k off, peaked", without_top_k.clone(), &peaked),
        ("top_k off, flat", without_top_k, &flat),
        ("top_k and top_p off", all, &peaked),
        (
            "greedy",
            SamplingParams {
                seed: Some(1),
                ..SamplingParams::greedy()
            },
            &peaked,
        ),
    ] {
        let mut sampler = Sampler::new(params).unwrap();
        c.bench_function(name, |bench| {
            bench.iter_batched_ref(
                || row.clone(),
                |logits| sampler.sample(logits, &history, 10, VOCABULARY).unwrap(),
                BatchSize::LargeInput,
            );
        });
    }
}

criterion_group!(benches, sampler);
criterion_main!(benches);
