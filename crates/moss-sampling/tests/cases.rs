//! What transformers keeps, case by case.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use moss_sampling::{Sampler, SamplingParams};
use serde_json::Value;

/// The cases' probabilities are f32 sums of another order.
const TOLERANCE: f32 = 1e-5;

#[test]
fn every_sampling_case_keeps_the_same_set() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/sampling_cases.json");
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert!(cases.len() >= 70, "{} cases", cases.len());
    for case in cases {
        let name = &case["name"];
        let logits: Vec<f32> = numbers(&case["logits"]).collect();
        let history: Vec<u32> = numbers(&case["history"]).map(|id| id as u32).collect();
        let found = kept(&case, logits, &history);
        let expected = case["kept"].as_array().unwrap();
        assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
        for pair in expected {
            let pair: Vec<f32> = numbers(pair).collect();
            let (_, probability) = *found.iter().find(|(id, _)| *id == pair[0] as u32).unwrap();
            assert!((probability - pair[1]).abs() <= TOLERANCE, "{name}: {probability} for {pair:?}");
        }
    }
}

fn kept(case: &Value, mut logits: Vec<f32>, history: &[u32]) -> Vec<(u32, f32)> {
    let number = |key: &str| case[key].as_f64().unwrap() as f32;
    let params = SamplingParams {
        temperature: number("temperature"),
        top_k: Some(number("top_k") as usize),
        top_p: number("top_p"),
        repetition_penalty: number("repetition_penalty"),
        ..SamplingParams::chat()
    };
    Sampler::new(params).unwrap().kept(&mut logits, history, 0, usize::MAX).unwrap()
}

fn numbers(value: &Value) -> impl Iterator<Item = f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32)
}
