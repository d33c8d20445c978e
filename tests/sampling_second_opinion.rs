//! candle-transformers' LogitsProcessor draws from the same distribution: a second opinion on ours.

use candle_core::{Device, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling};
use moss::{SamplingParams, sampling::Sampler};

const DRAWS: u32 = 20_000;

fn check(params: SamplingParams, sampling: Sampling) {
    let logits: Vec<f32> = (0..50).map(|i| ((i * 37) % 50) as f32 / 8.0).collect();
    let kept = Sampler::new(params)
        .unwrap()
        .kept(&mut logits.clone(), &[], 0, 50)
        .unwrap();
    let tensor = Tensor::new(logits.as_slice(), &Device::Cpu).unwrap();
    let mut theirs = LogitsProcessor::from_sampling(7, sampling);
    let mut counts = [0u32; 50];
    for _ in 0..DRAWS {
        counts[theirs.sample(&tensor).unwrap() as usize] += 1;
    }
    for (id, probability) in &kept {
        let share = counts[*id as usize] as f32 / DRAWS as f32;
        assert!(
            (share - probability).abs() < 0.015,
            "token {id}: theirs {share}, ours {probability}"
        );
    }
    let outside = DRAWS - kept.iter().map(|(id, _)| counts[*id as usize]).sum::<u32>();
    assert_eq!(outside, 0, "candle draws nothing that we do not keep");
}

#[test]
fn candle_agrees_on_top_k_and_temperature() {
    let params = SamplingParams {
        top_k: Some(10),
        top_p: 1.0,
        repetition_penalty: 1.0,
        ..SamplingParams::CHAT
    };
    check(
        params,
        Sampling::TopK {
            k: 10,
            temperature: 0.7,
        },
    );
}

#[test]
fn candle_agrees_on_top_p() {
    let params = SamplingParams {
        top_k: None,
        repetition_penalty: 1.0,
        ..SamplingParams::CHAT
    };
    check(
        params,
        Sampling::TopP {
            p: 0.8,
            temperature: 0.7,
        },
    );
}

#[test]
fn candle_agrees_on_the_best_token() {
    check(SamplingParams::greedy(), Sampling::ArgMax);
}
