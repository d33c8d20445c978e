//! The fixtures' cases, edge cases, and properties of the kept set.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use moss_sampling::{LogitsStep, Sampler, SamplingError, SamplingParams, StopLengthPenalty};
use proptest::prelude::*;
use serde_json::Value;

fn params() -> SamplingParams {
    SamplingParams { seed: Some(7), ..SamplingParams::chat() }
}

fn kept(params: SamplingParams, logits: &[f32], history: &[u32]) -> Vec<(u32, f32)> {
    Sampler::new(params).unwrap().kept(&mut logits.to_vec(), history, 0, usize::MAX).unwrap()
}

#[test]
fn every_sampling_case_keeps_the_same_set() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/sampling_cases.json");
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert!(cases.len() >= 70);
    for case in cases {
        let number = |key: &str, default: f64| case[key].as_f64().unwrap_or(default) as f32;
        let logits: Vec<f32> = case["logits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|value| value.as_f64().map_or(f32::NEG_INFINITY, |value| value as f32))
            .collect();
        let history: Vec<u32> =
            case["history"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        let params = SamplingParams {
            temperature: number("temperature", 1.0),
            top_k: case["top_k"].as_u64().map(|k| k as usize),
            top_p: number("top_p", 1.0),
            min_p: number("min_p", 0.0),
            repetition_penalty: number("repetition_penalty", 1.0),
            ..params()
        };
        let mut found = kept(params, &logits, &history);
        let mut expected: Vec<(u32, f32)> = case["kept"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair[0].as_u64().unwrap() as u32, pair[1].as_f64().unwrap() as f32))
            .collect();
        found.sort_by_key(|(id, _)| *id);
        expected.sort_by_key(|(id, _)| *id);
        let name = case["name"].as_str().unwrap();
        assert_eq!(ids(&found), ids(&expected), "{name}");
        for ((id, found), (_, expected)) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-5, "{name}: token {id} has {found}, expected {expected}");
        }
    }
}

fn ids(kept: &[(u32, f32)]) -> Vec<u32> {
    kept.iter().map(|(id, _)| *id).collect()
}

#[test]
fn greedy_takes_the_best_token_and_the_lowest_id_among_equals() {
    let mut sampler = Sampler::new(SamplingParams::greedy()).unwrap();
    assert_eq!(sampler.sample(&mut [1.0, 3.0, 3.0, -1.0], &[], 0, 4).unwrap(), 1);
}

#[test]
fn tokens_beyond_the_allowed_ones_are_never_kept() {
    let logits = [0.0, 1.0, 2.0, 50.0];
    let mut sampler = Sampler::new(params()).unwrap();
    let kept = sampler.kept(&mut logits.to_vec(), &[3], 0, 3).unwrap();
    assert!(!kept.is_empty() && kept.iter().all(|(id, _)| *id < 3));
}

#[test]
fn history_beyond_the_logits_is_passed_over() {
    assert_eq!(kept(params(), &[1.0, 2.0], &[9, u32::MAX]), kept(params(), &[1.0, 2.0], &[]));
}

#[test]
fn bad_logits_are_an_error_that_names_the_step() {
    let mut sampler = Sampler::new(params()).unwrap();
    for (bad, id) in [(f32::NAN, 300), (f32::INFINITY, 2)] {
        let mut logits = vec![0.0; 400];
        logits[id] = bad;
        let error = sampler.sample(&mut logits, &[], 5, 400).unwrap_err();
        assert!(
            matches!(error, SamplingError::BadLogits { step: 5, id: found, .. } if found == id),
            "{error}"
        );
    }
    let error = sampler.sample(&mut [f32::NEG_INFINITY; 3], &[], 6, 3).unwrap_err();
    assert_eq!(error, SamplingError::NothingLeft { step: 6 });
    let some = sampler.sample(&mut [f32::NEG_INFINITY, 0.5, f32::NEG_INFINITY], &[], 6, 3).unwrap();
    assert_eq!(some, 1, "one token left is enough");
}

#[test]
fn parameters_outside_their_range_are_named() {
    let bad = [
        SamplingParams { temperature: -1.0, ..params() },
        SamplingParams { temperature: f32::NAN, ..params() },
        SamplingParams { top_p: 1.5, ..params() },
        SamplingParams { min_p: -0.1, ..params() },
        SamplingParams { repetition_penalty: 0.0, ..params() },
    ];
    for params in bad {
        assert!(matches!(Sampler::new(params.clone()), Err(SamplingError::Parameter { .. })), "{params:?}");
    }
}

#[test]
fn the_same_seed_draws_the_same_tokens() {
    let logits: Vec<f32> = (0..200).map(|i| ((i * 37) % 101) as f32 / 25.0).collect();
    let draw = |seed| {
        let mut sampler = Sampler::new(SamplingParams { seed, top_k: None, top_p: 1.0, ..params() }).unwrap();
        (0..40).map(|_| sampler.sample(&mut logits.clone(), &[], 0, 200).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(draw(Some(1)), draw(Some(1)));
    assert_ne!(draw(Some(1)), draw(Some(2)));
}

#[test]
fn draws_are_as_frequent_as_the_kept_probabilities_say() {
    let logits = [1.0, 0.5, 0.0, 2.0, -1.0, 1.5];
    let settings = SamplingParams { top_p: 0.95, ..params() };
    let expected = kept(settings.clone(), &logits, &[]);
    let mut sampler = Sampler::new(settings).unwrap();
    let mut counts = [0u32; 6];
    const DRAWS: u32 = 20_000;
    for _ in 0..DRAWS {
        counts[sampler.sample(&mut logits.to_vec(), &[], 0, 6).unwrap() as usize] += 1;
    }
    for (id, probability) in &expected {
        let share = counts[*id as usize] as f32 / DRAWS as f32;
        assert!((share - probability).abs() < 0.015, "token {id}: {share} of draws, {probability} expected");
    }
    let of_kept: u32 = expected.iter().map(|(id, _)| counts[*id as usize]).sum();
    assert_eq!(of_kept, DRAWS);
}

#[test]
fn the_stop_penalty_begins_after_its_tokens_and_grows() {
    let penalty = StopLengthPenalty { factor: 1.5, after: 512, stop_ids: vec![1] };
    let params = SamplingParams { stop_length_penalty: Some(penalty), top_p: 1.0, ..params() };
    let share = |generated| {
        let mut sampler = Sampler::new(params.clone()).unwrap();
        let kept = sampler.kept(&mut [1.0, 0.0], &[], generated, 2).unwrap();
        kept.iter().find(|(id, _)| *id == 1).unwrap().1
    };
    assert_eq!(share(0), share(512));
    assert!(share(512) < share(513) && share(513) < share(520) && share(100_000) <= 1.0);
}

#[test]
fn a_step_of_ones_own_comes_first() {
    struct Ban(usize);
    impl LogitsStep for Ban {
        fn apply(&mut self, logits: &mut [f32], _: &[u32], _: usize) {
            logits[self.0] = f32::NEG_INFINITY;
        }
    }
    let mut sampler = Sampler::new(SamplingParams::greedy()).unwrap().with_step(Box::new(Ban(1)));
    assert_eq!(sampler.sample(&mut [1.0, 9.0, 2.0], &[], 0, 3).unwrap(), 2);
}

fn any_logits() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-8.0f32..8.0, 1..300)
}

/// The kept set by its definition: sort everything.
fn plain(params: &SamplingParams, logits: &[f32], history: &[u32]) -> Vec<u32> {
    let mut scores: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
    for (id, score) in &mut scores {
        if history.contains(id) {
            *score = if *score < 0.0 {
                *score * params.repetition_penalty
            } else {
                *score / params.repetition_penalty
            };
        }
    }
    scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
    if let Some(k) = params.top_k.filter(|k| *k > 0 && *k <= scores.len()) {
        let last = scores[k - 1].1;
        scores.retain(|(_, score)| *score >= last);
    }
    let weights: Vec<f64> = scores
        .iter()
        .map(|(_, s)| f64::from(s / params.temperature - scores[0].1 / params.temperature).exp())
        .collect();
    let total: f64 = weights.iter().sum();
    let mut mass = 0.0;
    let mut kept = Vec::new();
    for ((id, _), weight) in scores.iter().zip(&weights) {
        kept.push(*id);
        mass += weight;
        if mass >= f64::from(params.top_p) * total {
            break;
        }
    }
    kept
}

proptest! {
    #[test]
    fn the_kept_set_is_the_one_that_sorting_everything_gives(
        logits in any_logits(), history in prop::collection::vec(0u32..300, 0..20),
        top_k in prop::option::of(0usize..400), top_p in 0.01f32..0.99, penalty in 0.9f32..1.2,
    ) {
        let params = SamplingParams { top_k, top_p, repetition_penalty: penalty, ..params() };
        let found = kept(params.clone(), &logits, &history);
        prop_assert_eq!(ids(&found), plain(&params, &logits, &history));
        prop_assert!((found.iter().map(|(_, p)| p).sum::<f32>() - 1.0).abs() < 1e-4);
    }

    #[test]
    fn a_larger_top_p_keeps_no_fewer(logits in any_logits(), a in 0.0f32..1.0, b in 0.0f32..1.0) {
        let count = |top_p| kept(SamplingParams { top_p, ..params() }, &logits, &[]).len();
        prop_assert!(count(a.min(b)) <= count(a.max(b)));
        prop_assert!(count(0.0) >= 1);
    }

    #[test]
    fn min_p_keeps_what_is_likely_enough(logits in any_logits(), min_p in 0.0f32..1.0) {
        let all = kept(SamplingParams { top_p: 1.0, ..params() }, &logits, &[]);
        let some = kept(SamplingParams { top_p: 1.0, min_p, ..params() }, &logits, &[]);
        prop_assert!(!some.is_empty() && some.len() <= all.len());
        prop_assert!(some.iter().all(|(_, p)| *p >= min_p * some[0].1 * 0.9999));
    }
}
