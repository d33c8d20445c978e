//! Sampling from the top-k candidates of a row gives the same tokens and errors as sampling from
//! the row, or the row is requested.

use moss_sampling::{
    LogitsProcessor, Sampler, SamplingError, SamplingParams, StopLengthPenalty, TopKCandidates,
    TopKRequest,
};
use proptest::prelude::*;

fn params() -> SamplingParams {
    SamplingParams {
        seed: Some(7),
        ..SamplingParams::CHAT
    }
}

/// Smooth rows, rows with many ties and zeros of either sign, rows with excluded tokens, and rows
/// with NaN or infinity.
fn any_logits() -> impl Strategy<Value = Vec<f32>> {
    let smooth = -30.0f32..30.0;
    let coarse = prop_oneof![
        9 => (-12i8..12).prop_map(|score| f32::from(score) / 2.0),
        1 => Just(-0.0f32),
        1 => Just(f32::NEG_INFINITY),
    ];
    // Differences that the penalty or the temperature may round away.
    let close = (0u32..200).prop_map(|step| f32::from_bits(9.7f32.to_bits() + step));
    let damaged = prop_oneof![
        200 => -8.0f32..8.0,
        1 => Just(f32::NAN),
        1 => Just(f32::INFINITY),
        1 => Just(f32::NEG_INFINITY),
    ];
    let extreme = prop_oneof![
        Just(f32::MAX),
        Just(f32::MIN),
        Just(f32::MIN_POSITIVE),
        -1e-40f32..1e-40,
        -1e38f32..1e38
    ];
    prop_oneof![
        prop::collection::vec(smooth.clone(), 0..150),
        prop::collection::vec(smooth, 3000..4000),
        prop::collection::vec(coarse.clone(), 0..150),
        prop::collection::vec(coarse, 3000..4000),
        prop::collection::vec(close, 0..1000),
        prop::collection::vec(damaged, 0..200),
        prop::collection::vec(extreme, 0..200),
        (0usize..100).prop_map(|len| vec![f32::NEG_INFINITY; len]),
    ]
}

fn any_params() -> impl Strategy<Value = SamplingParams> {
    let temperature = prop_oneof![1 => Just(0.0f32), 1 => Just(1.0), 4 => 0.1f32..2.0, 1 => Just(1e-38), 1 => Just(1e30)];
    let top_k = prop_oneof![4 => 1usize..60, 1 => 60usize..401].prop_map(Some);
    let top_p = prop_oneof![Just(1.0f32), 0.01f32..0.99];
    let min_p = prop_oneof![Just(0.0f32), 0.0f32..0.3];
    let repetition_penalty =
        prop_oneof![1 => Just(1.0f32), 4 => 0.8f32..1.5, 1 => Just(1e-38), 1 => Just(1e30)];
    let stop = prop::option::of((0.5f32..2.0).prop_map(|factor| StopLengthPenalty {
        factor,
        after: 1,
        stop_ids: vec![3, 5],
    }));
    (
        temperature,
        top_k,
        top_p,
        min_p,
        repetition_penalty,
        stop,
        any::<u64>(),
    )
        .prop_map(
            |(temperature, top_k, top_p, min_p, repetition_penalty, stop_length_penalty, seed)| {
                SamplingParams {
                    temperature,
                    top_k,
                    top_p,
                    min_p,
                    repetition_penalty,
                    stop_length_penalty,
                    seed: Some(seed),
                    ..SamplingParams::CHAT
                }
            },
        )
}

/// Errors are compared as text, because they may contain NaN.
fn outcome(drawn: Result<u32, SamplingError>) -> Result<u32, String> {
    drawn.map_err(|error| error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn candidates_draw_what_the_whole_row_draws(
        logits in any_logits(), history in prop::collection::vec(0u32..4500, 0..60), params in any_params(),
        allowed in prop_oneof![3 => Just(usize::MAX), 1 => 0usize..4000],
    ) {
        let (mut by_row, mut by_top_k) = (Sampler::new(params.clone()).unwrap(), Sampler::new(params).unwrap());
        for generated in 0..6 {
            let drawn = by_row.sample(&mut logits.clone(), &history, generated, allowed);
            let again = match by_top_k.top_k_request(&history, allowed).unwrap().select(&logits) {
                Some(TopKCandidates(mut candidates)) => {
                    prop_assert!(candidates.len() <= TopKRequest::MAX_CANDIDATES);
                    let middle = candidates.len() / 2;
                    candidates.rotate_left(middle); // in any order
                    // kernels return +0 for both zeros
                    candidates.iter_mut().for_each(|(_, score)| *score += 0.0);
                    by_top_k.sample_candidates(&TopKCandidates(candidates), generated)
                }
                None => by_top_k.sample(&mut logits.clone(), &history, generated, allowed),
            };
            prop_assert_eq!(outcome(drawn), outcome(again));
        }
    }

    #[test]
    fn candidates_keep_what_the_whole_row_keeps(
        logits in any_logits(), history in prop::collection::vec(0u32..4500, 0..60), params in any_params(),
    ) {
        let mut sampler = Sampler::new(params).unwrap();
        if let Some(candidates) = sampler.top_k_request(&history, usize::MAX).unwrap().select(&logits) {
            let kept = sampler.kept(&mut logits.clone(), &history, 0, usize::MAX).unwrap();
            prop_assert_eq!(sampler.kept_candidates(&candidates, 0).unwrap(), kept);
        }
    }
}

#[test]
fn a_row_without_damage_or_a_crowd_of_ties_has_candidates() {
    let logits: Vec<f32> = (0..5000)
        .map(|id| ((id * 7919) % 5003) as f32 / 100.0)
        .collect();
    for top_k in [1, 40, TopKRequest::MAX_TOP_K] {
        let sampler = Sampler::new(SamplingParams {
            top_k: Some(top_k),
            ..params()
        })
        .unwrap();
        let request = sampler.top_k_request(&[], 5000).unwrap();
        let TopKCandidates(found) = request.select(&logits).unwrap();
        assert_eq!(found.len(), top_k);
        assert!(
            found.windows(2).all(|pair| pair[0].0 < pair[1].0),
            "by ascending id"
        );
    }
}

#[test]
fn more_ties_than_an_answer_holds_need_the_row() {
    let sampler = Sampler::new(params()).unwrap();
    let request = sampler.top_k_request(&[], usize::MAX).unwrap();
    let most = TopKRequest::MAX_CANDIDATES;
    assert_eq!(request.select(&vec![1.5; most]).unwrap().0.len(), most);
    assert_eq!(request.select(&vec![1.5; most + 1]), None);
}

#[test]
fn greedy_is_top_k_of_one_and_draws_the_lowest_id_among_equals() {
    let mut sampler = Sampler::new(SamplingParams::greedy()).unwrap();
    let request = sampler.top_k_request(&[], 4).unwrap();
    assert_eq!(
        request,
        TopKRequest {
            history: &[],
            repetition_penalty: 1.0,
            temperature: 0.0,
            top_k: 1,
            allowed: 4,
        }
    );
    let TopKCandidates(found) = request.select(&[1.0, 3.0, -1.0, 3.0]).unwrap();
    assert_eq!(found, [(1, 3.0), (3, 3.0)]);
    let reversed = TopKCandidates(vec![found[1], found[0]]);
    assert_eq!(sampler.sample_candidates(&reversed, 0).unwrap(), 1);
}

struct Nothing;

impl LogitsProcessor for Nothing {
    fn apply(&mut self, _: &mut [f32], _: &[u32], _: usize) {}
}

#[test]
fn custom_steps_and_a_top_k_that_is_off_or_large_need_the_row() {
    assert!(
        Sampler::new(params())
            .unwrap()
            .with_processor(Box::new(Nothing))
            .top_k_request(&[], usize::MAX)
            .is_none()
    );
    for top_k in [None, Some(0), Some(TopKRequest::MAX_TOP_K + 1)] {
        assert!(
            Sampler::new(SamplingParams { top_k, ..params() })
                .unwrap()
                .top_k_request(&[], usize::MAX)
                .is_none()
        );
    }
}

#[test]
fn candidates_that_nothing_can_be_drawn_from_are_an_error_that_names_the_step() {
    for params in [params(), SamplingParams::greedy()] {
        let mut sampler = Sampler::new(params).unwrap();
        for none in [vec![], vec![(3, f32::NEG_INFINITY)]] {
            assert_eq!(
                sampler.sample_candidates(&TopKCandidates(none), 4),
                Err(SamplingError::NothingLeft { step: 4 })
            );
        }
        let bad = TopKCandidates(vec![(9, f32::INFINITY), (5, f32::NAN), (1, 0.0)]);
        let error = sampler.sample_candidates(&bad, 6).unwrap_err();
        assert!(
            matches!(error, SamplingError::BadLogits { step: 6, id: 5, .. }),
            "{error}"
        );
    }
}
