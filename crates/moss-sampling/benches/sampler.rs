//! Cost of one token at MOSS's vocabulary: `cargo bench -p moss-sampling`.
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use moss_sampling::{Sampler, SamplingParams};

const VOCABULARY: usize = 107_008;

fn sampler(c: &mut Criterion) {
    // A peaked, noisy row, as language models give.
    let mut state = 1u64;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let logits: Vec<f32> = (0..VOCABULARY).map(|_| noise().ln().abs() * -2.0 + noise() * 6.0).collect();
    let history: Vec<u32> = (0..1000).map(|_| (noise() * VOCABULARY as f32) as u32).collect();
    let all = SamplingParams { top_k: None, ..SamplingParams::chat() };
    for (name, params) in
        [("chat", SamplingParams::chat()), ("top_k off", all), ("greedy", SamplingParams::greedy())]
    {
        let mut sampler = Sampler::new(SamplingParams { seed: Some(1), ..params }).unwrap();
        c.bench_function(name, |bench| {
            bench.iter_batched_ref(
                || logits.clone(),
                |logits| sampler.sample(logits, &history, 10, VOCABULARY).unwrap(),
                criterion::BatchSize::LargeInput,
            );
        });
    }
}

criterion_group!(benches, sampler);
criterion_main!(benches);
