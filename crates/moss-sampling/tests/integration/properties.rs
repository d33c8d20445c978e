//! Properties for any logits: the kept set against its definition, and its invariants.

use moss_sampling::{Sampler, SamplingParams};
use proptest::prelude::*;

fn params() -> SamplingParams {
    SamplingParams {
        seed: Some(7),
        ..SamplingParams::CHAT
    }
}

fn kept(
    params: &SamplingParams,
    logits: &[f32],
    history: &[u32],
    allowed: usize,
) -> Vec<(u32, f32)> {
    Sampler::new(params.clone())
        .unwrap()
        .kept(&mut logits.to_vec(), history, 0, allowed)
        .unwrap()
}

fn ids(kept: &[(u32, f32)]) -> Vec<u32> {
    let mut ids: Vec<u32> = kept.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids
}

/// Short rows, and rows long enough for every fast path; smooth ones, and ones with many ties and
/// excluded tokens.
fn any_logits() -> impl Strategy<Value = Vec<f32>> {
    let smooth = -8.0f32..8.0;
    let coarse = prop_oneof![
        9 => (-12i8..12).prop_map(|score| f32::from(score) / 2.0),
        1 => Just(f32::NEG_INFINITY),
    ];
    let first = -8.0f32..8.0;
    let rest = prop_oneof![
        prop::collection::vec(smooth.clone(), 0..150),
        prop::collection::vec(smooth, 3000..4000),
        prop::collection::vec(coarse.clone(), 0..150),
        prop::collection::vec(coarse, 3000..4000),
    ];
    (first, rest).prop_map(|(first, mut rest)| {
        rest.insert(0, first); // one finite logit at least
        rest
    })
}

fn any_params() -> impl Strategy<Value = SamplingParams> {
    let top_k = prop_oneof![
        Just(None),
        Just(Some(0)),
        (1usize..50).prop_map(Some),
        (50usize..5000).prop_map(Some)
    ];
    let min_p = prop_oneof![Just(0.0f32), 0.0f32..0.5];
    (top_k, 0.01f32..0.99, min_p, 0.9f32..1.2, 0.3f32..2.0).prop_map(
        |(top_k, top_p, min_p, repetition_penalty, temperature)| SamplingParams {
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty,
            ..params()
        },
    )
}

/// Computes the kept set by its definition, with a full sort.
fn by_sorting(params: &SamplingParams, logits: &[f32], history: &[u32]) -> Vec<u32> {
    let mut scores: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
    for (id, score) in &mut scores {
        if history.contains(id) {
            let penalty = params.repetition_penalty;
            *score = if *score < 0.0 {
                *score * penalty
            } else {
                *score / penalty
            };
        }
        *score /= params.temperature;
    }
    scores.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(b.0.cmp(&a.0)));
    if let Some(k) = params.top_k.filter(|k| *k > 0 && *k <= scores.len()) {
        let last = scores[k - 1].1;
        scores.retain(|(_, score)| *score >= last);
    }
    let best = scores[0].1;
    let weights: Vec<f64> = scores
        .iter()
        .map(|(_, score)| f64::from(score - best).exp())
        .collect();
    let wanted = f64::from(params.top_p) * weights.iter().sum::<f64>();
    let mut mass = 0.0;
    let mut kept = Vec::new();
    for ((id, _), weight) in scores.iter().zip(&weights) {
        if *weight >= f64::from(params.min_p) {
            kept.push(*id);
        }
        mass += weight;
        if mass >= wanted {
            break;
        }
    }
    kept.sort_unstable();
    kept
}

proptest! {
    #[test]
    fn the_kept_set_is_the_one_that_sorting_everything_gives(
        logits in any_logits(), history in prop::collection::vec(0u32..5000, 0..40), params in any_params(),
    ) {
        let found = ids(&kept(&params, &logits, &history, logits.len()));
        prop_assert_eq!(found, by_sorting(&params, &logits, &history));
    }

    #[test]
    fn the_kept_set_is_never_empty_sums_to_one_and_stays_below_allowed(
        logits in any_logits(), params in any_params(), allowed in 1usize..5000,
    ) {
        let found = kept(&params, &logits, &[], allowed);
        prop_assert!(!found.is_empty());
        prop_assert!(found.iter().all(|(id, _)| (*id as usize) < allowed.min(logits.len())));
        prop_assert!(found.iter().all(|(id, _)| logits[*id as usize] > f32::NEG_INFINITY));
        prop_assert!(found.windows(2).all(|pair| pair[0].1 >= pair[1].1), "the likeliest first");
        prop_assert!((found.iter().map(|(_, p)| f64::from(*p)).sum::<f64>() - 1.0).abs() < 1e-4);
    }

    #[test]
    fn what_is_drawn_is_kept(logits in any_logits(), params in any_params(), seed: u64) {
        let kept = ids(&kept(&params, &logits, &[], logits.len()));
        let mut sampler = Sampler::new(SamplingParams { seed: Some(seed), ..params }).unwrap();
        for _ in 0..5 {
            let drawn = sampler.sample(&mut logits.clone(), &[], 0, logits.len()).unwrap();
            prop_assert!(kept.binary_search(&drawn).is_ok(), "{drawn} is not in {kept:?}");
        }
    }

    #[test]
    fn a_larger_top_p_keeps_all_that_a_smaller_one_does(
        logits in any_logits(), top_k in prop::option::of(1usize..100), a in 0.0f32..=1.0, b in 0.0f32..=1.0,
    ) {
        let kept = |top_p| ids(&kept(&SamplingParams { top_p, top_k, ..params() }, &logits, &[], logits.len()));
        let larger = kept(a.max(b));
        prop_assert!(kept(a.min(b)).iter().all(|id| larger.binary_search(id).is_ok()));
    }

    #[test]
    fn a_larger_top_k_keeps_all_that_a_smaller_one_does(logits in any_logits(), a in 1usize..4000, b in 1usize..4000) {
        let kept = |k| ids(&kept(&SamplingParams { top_p: 1.0, top_k: Some(k), ..params() }, &logits, &[], logits.len()));
        let (smaller, larger) = (kept(a.min(b)), kept(a.max(b)));
        prop_assert!(smaller.iter().all(|id| larger.binary_search(id).is_ok()));
        let finite = logits.iter().filter(|logit| logit.is_finite()).count();
        prop_assert!(smaller.len() >= a.min(b).min(finite));
    }

    #[test]
    fn min_p_keeps_exactly_what_is_likely_enough(logits in any_logits(), min_p in 0.001f32..1.0) {
        let with = |min_p| SamplingParams { top_k: None, top_p: 1.0, min_p, ..params() };
        let (all, some) = (kept(&with(0.0), &logits, &[], logits.len()), kept(&with(min_p), &logits, &[], logits.len()));
        let ratio = |index: usize| all[index].1 / all[0].1;
        prop_assert!(ratio(some.len() - 1) >= min_p * 0.9999);
        prop_assert!(some.len() == all.len() || ratio(some.len()) <= min_p * 1.0001);
    }

    #[test]
    fn the_penalty_counts_a_token_once_however_often_it_was_said(
        logits in any_logits(), history in prop::collection::vec(0u32..200, 1..20), times in 2usize..5,
    ) {
        let params = SamplingParams { repetition_penalty: 1.3, ..params() };
        let said_often = history.repeat(times);
        prop_assert_eq!(
            kept(&params, &logits, &history, logits.len()),
            kept(&params, &logits, &said_often, logits.len())
        );
    }

    #[test]
    fn a_sampler_forgets_what_it_saw_before(
        logits in any_logits(), other in any_logits(), history in prop::collection::vec(0u32..200, 0..20), params in any_params(),
    ) {
        let mut used = Sampler::new(params.clone()).unwrap();
        used.kept(&mut other.clone(), &[1, 2, 3], 0, other.len()).unwrap();
        let again = used.kept(&mut logits.clone(), &history, 0, logits.len()).unwrap();
        prop_assert_eq!(again, kept(&params, &logits, &history, logits.len()));
    }
}
