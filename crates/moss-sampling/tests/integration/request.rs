//! A device that draws the token of a request draws the same one as the sampler from all logits, or
//! returns all logits.

use moss_sampling::{
    LogitsProcessor, SampleRequest, Sampler, SamplingError, SamplingParams, StopLengthPenalty,
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
    let top_k = prop_oneof![4 => 1usize..60, 1 => 60usize..257].prop_map(Some);
    let top_p = prop_oneof![1 => Just(0.0f32), 2 => Just(1.0), 4 => 0.01f32..0.99];
    let min_p = prop_oneof![3 => Just(0.0f32), 2 => 0.0f32..0.3, 1 => Just(1.0)];
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    /// Also after tokens for which all logits were returned. Errors are compared as text, because
    /// they may contain NaN.
    #[test]
    fn a_request_draws_what_the_whole_row_draws(
        logits in any_logits(), history in prop::collection::vec(0u32..4500, 0..60), params in any_params(),
        allowed in prop_oneof![3 => Just(usize::MAX), 1 => 0usize..4000],
    ) {
        let (mut by_row, mut by_request) = (Sampler::new(params.clone()).unwrap(), Sampler::new(params).unwrap());
        for generated in 0..6 {
            let drawn = by_row.sample(&mut logits.clone(), &history, generated, allowed);
            let request = by_request.request(&history, generated, allowed).unwrap();
            let again = match request.draw(&logits) {
                Some(token) => by_request.accept(token, generated, allowed),
                None => by_request.sample(&mut logits.clone(), &history, generated, allowed),
            };
            let outcome = |drawn: Result<u32, SamplingError>| drawn.map_err(|error| error.to_string());
            prop_assert_eq!(outcome(drawn), outcome(again));
        }
    }
}

/// The numbers at both ends of `[0, 1)` select the first and the last token in the order of the
/// draw, which is the best first with a top-p below 1, and by ascending id otherwise.
#[test]
fn small_and_large_numbers_select_the_ends_of_the_order() {
    let logits = [0.0, 2.0, 1.0, 3.0, 2.5];
    let mut request = SampleRequest {
        history: &[],
        repetition_penalty: 1.0,
        temperature: 1.0,
        top_k: 4,
        top_p: 1.0,
        min_p: 0.0,
        stop_ids: &[],
        stop_factor: 1.0,
        allowed: 5,
        uniform: 0.0,
    };
    let last = 1.0f64.next_down();
    for (top_p, expected) in [(1.0, [1, 4]), (0.9999, [3, 2]), (0.0, [3, 3])] {
        request.top_p = top_p;
        let drawn = [0.0, last].map(|uniform| SampleRequest { uniform, ..request }.draw(&logits));
        assert_eq!(drawn, expected.map(Some), "top_p {top_p}");
    }
}

#[test]
fn a_row_without_damage_or_a_crowd_of_ties_is_drawn_from() {
    let logits: Vec<f32> = (0..5000)
        .map(|id| ((id * 7919) % 5003) as f32 / 100.0)
        .collect();
    for top_k in [1, 40, SampleRequest::MAX_CANDIDATES] {
        let top_k = Some(top_k);
        let sampler = Sampler::new(SamplingParams { top_k, ..params() }).unwrap();
        let request = sampler.request(&[], 0, 5000).unwrap();
        assert!(request.draw(&logits).is_some());
    }
}

#[test]
fn more_ties_than_candidates_need_the_row() {
    let sampler = Sampler::new(params()).unwrap();
    let request = sampler.request(&[], 0, usize::MAX).unwrap();
    let most = SampleRequest::MAX_CANDIDATES;
    assert!(request.draw(&vec![1.5; most]).is_some());
    assert_eq!(request.draw(&vec![1.5; most + 1]), None);
}

#[test]
fn greedy_is_top_k_of_one_and_draws_the_lowest_id_among_equals() {
    let sampler = Sampler::new(SamplingParams::greedy()).unwrap();
    let request = sampler.request(&[], 0, 4).unwrap();
    assert_eq!((request.temperature, request.top_k), (0.0, 1));
    assert_eq!(request.draw(&[1.0, 3.0, -1.0, 3.0]), Some(1));
    assert_eq!(request.draw(&[-1.0, -0.0, 0.0, -2.0]), Some(1));
}

#[test]
fn a_request_does_not_consume_its_random_number_and_accepting_consumes_one() {
    let mut sampler = Sampler::new(params()).unwrap();
    let uniform = |sampler: &Sampler| sampler.request(&[], 0, 9).unwrap().uniform;
    let numbers: Vec<_> = (0..4)
        .map(|step| {
            let number = uniform(&sampler);
            assert_eq!(uniform(&sampler), number, "the request is repeated");
            match step % 2 {
                0 => sampler.accept(3, step, 9).unwrap(),
                _ => sampler.sample(&mut [1.0, 2.0], &[], step, 9).unwrap(),
            };
            number
        })
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]));
    // The stream of ChaCha12 with the seed 7, as in all earlier builds.
    assert_eq!(numbers, GOLDEN_NUMBERS);
}

/// The stream of ChaCha12 with the seed 7, as in all earlier builds.
const GOLDEN_NUMBERS: [f64; 4] = [
    0.030_317_360_865_101_395,
    0.307_086_283_374_240_8,
    0.142_642_156_700_772_63,
    0.542_517_186_527_105_5,
];

struct Nothing;

impl LogitsProcessor for Nothing {
    fn apply(&mut self, _: &mut [f32], _: &[u32], _: usize) {}
}

#[test]
fn settings_that_a_device_does_not_know_need_the_row() {
    let penalty = |ids: u32| {
        Some(StopLengthPenalty {
            factor: 2.0,
            after: 5,
            stop_ids: (0..ids).collect(),
        })
    };
    let most_ids = SampleRequest::MAX_STOP_IDS as u32;
    let with_top_k = |top_k| SamplingParams { top_k, ..params() };
    let needs_row = [
        with_top_k(None),
        with_top_k(Some(0)),
        with_top_k(Some(SampleRequest::MAX_CANDIDATES + 1)),
        SamplingParams {
            presence_penalty: 0.5,
            ..params()
        },
        SamplingParams {
            frequency_penalty: 0.5,
            ..params()
        },
        SamplingParams {
            logit_bias: vec![(3, 1.0)],
            ..params()
        },
        SamplingParams {
            stop_length_penalty: penalty(most_ids + 1),
            ..params()
        },
    ];
    for params in needs_row {
        let sampler = Sampler::new(params.clone()).unwrap();
        assert_eq!(sampler.request(&[], 6, usize::MAX), None, "{params:?}");
    }
    let custom = Sampler::new(params())
        .unwrap()
        .with_processor(Box::new(Nothing));
    assert_eq!(custom.request(&[], 6, usize::MAX), None);

    let penalized = SamplingParams {
        stop_length_penalty: penalty(most_ids),
        ..params()
    };
    let sampler = Sampler::new(penalized).unwrap();
    let stop = |generated| {
        let request = sampler.request(&[], generated, usize::MAX).unwrap();
        (request.stop_ids.len(), request.stop_factor)
    };
    assert_eq!(
        [stop(5), stop(8)],
        [(0, 1.0), (SampleRequest::MAX_STOP_IDS, 8.0)]
    );
}

#[test]
fn a_token_that_may_not_be_sampled_is_an_error_and_consumes_nothing() {
    let mut sampler = Sampler::new(params()).unwrap();
    let before = sampler.request(&[], 0, 5).unwrap().uniform;
    let error = sampler.accept(5, 3, 5).unwrap_err();
    let expected = SamplingError::NotAllowed {
        step: 3,
        id: 5,
        tokens: 5,
    };
    assert_eq!(error, expected);
    assert_eq!(sampler.request(&[], 0, 5).unwrap().uniform, before);
}
