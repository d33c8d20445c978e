//! Edge cases, errors, seeds, and frequencies.

use moss_sampling::{LogitsProcessor, Sampler, SamplingError, SamplingParams, StopLengthPenalty};

fn params() -> SamplingParams {
    SamplingParams {
        seed: Some(7),
        ..SamplingParams::CHAT
    }
}

fn kept(params: SamplingParams, logits: &[f32], history: &[u32]) -> Vec<(u32, f32)> {
    Sampler::new(params)
        .unwrap()
        .kept(&mut logits.to_vec(), history, 0, usize::MAX)
        .unwrap()
}

#[test]
fn greedy_takes_the_best_token_and_the_lowest_id_among_equals() {
    let mut sampler = Sampler::new(SamplingParams::greedy()).unwrap();
    assert_eq!(
        sampler
            .sample(&mut [1.0, 3.0, 3.0, -1.0], &[], 0, 4)
            .unwrap(),
        1
    );
    let mut long = vec![-5.0; 3000];
    (long[700], long[2900]) = (-1.0, -1.0);
    assert_eq!(sampler.sample(&mut long, &[], 0, 3000).unwrap(), 700);
}

#[test]
fn greedy_minds_the_repetition_penalty() {
    let params = SamplingParams {
        repetition_penalty: 1.5,
        ..SamplingParams::greedy()
    };
    assert_eq!(kept(params, &[3.0, 2.5], &[0]), [(1, 1.0)]);
}

#[test]
fn a_temperature_too_small_to_divide_by_is_greedy() {
    for logits in [[5.0, 5.0, -80.0], [-80.0, -80.0, -90.0]] {
        let params = SamplingParams {
            temperature: 1e-40,
            ..params()
        };
        assert_eq!(kept(params, &logits, &[]), [(0, 1.0)]);
    }
}

#[test]
fn a_penalty_close_to_zero_makes_no_infinities() {
    let params = SamplingParams {
        repetition_penalty: 1e-38,
        temperature: 1.0,
        ..params()
    };
    assert_eq!(kept(params, &[1e10, 1e9, -1.0], &[0]), [(0, 1.0)]);
}

#[test]
fn scores_that_tie_once_divided_by_the_temperature_tie_at_the_top_k_border() {
    let mut b = 1.5f32;
    while b / 0.7 != b.next_up() / 0.7 {
        b = b.next_up();
    }
    let a = b.next_up();
    let params = SamplingParams {
        top_k: Some(1),
        top_p: 1.0,
        repetition_penalty: 1.0,
        ..params()
    };
    assert_eq!(kept(params, &[b, a, 0.0], &[]), [(0, 0.5), (1, 0.5)]);
}

#[test]
fn tokens_beyond_the_allowed_ones_are_never_kept() {
    let logits = [0.0, 1.0, 2.0, 50.0];
    let mut sampler = Sampler::new(SamplingParams {
        top_p: 1.0,
        ..params()
    })
    .unwrap();
    let kept = sampler.kept(&mut logits.clone(), &[3], 0, 3).unwrap();
    assert_eq!(
        kept.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        [2, 1, 0]
    );
    let error = sampler.kept(&mut logits.clone(), &[], 4, 0).unwrap_err();
    assert_eq!(error, SamplingError::NothingLeft { step: 4 });
}

#[test]
fn damage_beyond_the_allowed_tokens_does_no_harm() {
    let mut sampler = Sampler::new(params()).unwrap();
    assert_eq!(sampler.sample(&mut [1.0, f32::NAN], &[], 0, 1).unwrap(), 0);
}

#[test]
fn history_beyond_the_logits_is_passed_over() {
    assert_eq!(
        kept(params(), &[1.0, 2.0], &[9, u32::MAX]),
        kept(params(), &[1.0, 2.0], &[])
    );
}

#[test]
fn bad_logits_are_an_error_that_names_the_step_and_the_token() {
    let mut sampler = Sampler::new(params()).unwrap();
    for (bad, id) in [(f32::NAN, 300), (-f32::NAN, 399), (f32::INFINITY, 2)] {
        let mut logits = vec![f32::NEG_INFINITY; 400];
        (logits[0], logits[id]) = (0.0, bad);
        let error = sampler.sample(&mut logits, &[], 5, 400).unwrap_err();
        assert!(
            matches!(error, SamplingError::BadLogits { step: 5, id: found, .. } if found == id),
            "{error}"
        );
    }
}

#[test]
fn logits_that_rule_out_everything_are_an_error_and_one_left_is_enough() {
    for params in [
        params(),
        SamplingParams::greedy(),
        SamplingParams {
            top_k: None,
            ..params()
        },
    ] {
        let mut sampler = Sampler::new(params).unwrap();
        let error = sampler
            .sample(&mut [f32::NEG_INFINITY; 300], &[], 6, 300)
            .unwrap_err();
        assert_eq!(error, SamplingError::NothingLeft { step: 6 });
        assert_eq!(
            sampler.sample(&mut [], &[], 7, 0),
            Err(SamplingError::NothingLeft { step: 7 })
        );
        let mut one = [f32::NEG_INFINITY; 300];
        one[150] = -30.0;
        assert_eq!(sampler.sample(&mut one, &[], 6, 300).unwrap(), 150);
    }
}

#[test]
fn parameters_outside_their_range_are_named() {
    let penalty = |factor| {
        Some(StopLengthPenalty {
            factor,
            after: 512,
            stop_ids: vec![],
        })
    };
    let bad = [
        (
            "temperature",
            SamplingParams {
                temperature: -1.0,
                ..params()
            },
        ),
        (
            "temperature",
            SamplingParams {
                temperature: f32::NAN,
                ..params()
            },
        ),
        (
            "top_p",
            SamplingParams {
                top_p: 1.5,
                ..params()
            },
        ),
        (
            "min_p",
            SamplingParams {
                min_p: f32::NAN,
                ..params()
            },
        ),
        (
            "repetition_penalty",
            SamplingParams {
                repetition_penalty: 0.0,
                ..params()
            },
        ),
        (
            "length_penalty",
            SamplingParams {
                stop_length_penalty: penalty(f32::INFINITY),
                ..params()
            },
        ),
    ];
    for (expected, params) in bad {
        let error = Sampler::new(params).unwrap_err();
        assert!(
            matches!(error, SamplingError::Parameter { name, .. } if name == expected),
            "{error}"
        );
    }
}

#[test]
fn the_same_seed_draws_the_same_tokens() {
    let logits: Vec<f32> = (0..2000).map(|i| ((i * 37) % 101) as f32 / 25.0).collect();
    let draw = |seed| {
        let mut sampler = Sampler::new(SamplingParams {
            seed,
            top_k: None,
            ..params()
        })
        .unwrap();
        let drawn = (0..40).map(|_| sampler.sample(&mut logits.clone(), &[], 0, 2000).unwrap());
        (drawn.collect::<Vec<_>>(), sampler.seed())
    };
    assert_eq!(draw(Some(1)), draw(Some(1)));
    assert_ne!(draw(Some(1)).0, draw(Some(2)).0);
    let (drawn, seed) = draw(None);
    assert_eq!(
        drawn,
        draw(Some(seed)).0,
        "a seed that was taken from the system can be given again"
    );
}

#[test]
fn asking_what_is_kept_draws_nothing() {
    let logits = [1.0, 1.1, 1.2, 1.3];
    let draw = |ask: bool| {
        let mut sampler = Sampler::new(SamplingParams {
            top_p: 1.0,
            ..params()
        })
        .unwrap();
        let mut step = || {
            if ask {
                sampler.kept(&mut logits.clone(), &[], 0, 4).unwrap();
            }
            sampler.sample(&mut logits.clone(), &[], 0, 4).unwrap()
        };
        (0..40).map(|_| step()).collect::<Vec<_>>()
    };
    assert_eq!(draw(true), draw(false));
}

/// The 0.999 quantile of chi-square for 19 degrees of freedom: the seed is fixed, so the
/// result is the same in every run.
const CHI_SQUARE_19: f64 = 43.8;

#[test]
fn draws_are_as_frequent_as_the_kept_probabilities_say() {
    const DRAWS: u32 = 20_000;
    let logits: Vec<f32> = (0..600)
        .map(|i| {
            if i % 30 == 7 {
                (i % 11) as f32 / 8.0
            } else {
                -50.0
            }
        })
        .collect();
    let settings = SamplingParams {
        top_k: None,
        top_p: 0.9999,
        repetition_penalty: 1.0,
        ..params()
    };
    let expected = kept(settings.clone(), &logits, &[]);
    assert_eq!(expected.len(), 20);
    let mut sampler = Sampler::new(settings).unwrap();
    let mut counts = vec![0u32; 600];
    for _ in 0..DRAWS {
        counts[sampler.sample(&mut logits.clone(), &[], 0, 600).unwrap() as usize] += 1;
    }
    let distance: f64 = expected
        .iter()
        .map(|(id, probability)| {
            let wanted = f64::from(*probability) * f64::from(DRAWS);
            (f64::from(counts[*id as usize]) - wanted).powi(2) / wanted
        })
        .sum();
    assert!(distance < CHI_SQUARE_19, "chi-square {distance}");
    let of_kept: u32 = expected.iter().map(|(id, _)| counts[*id as usize]).sum();
    assert_eq!(of_kept, DRAWS);
}

#[test]
fn the_stop_penalty_multiplies_the_probability_by_a_power_of_the_tokens_past_its_free_ones() {
    let odds = |factor, generated| {
        let penalty = StopLengthPenalty {
            factor,
            after: 512,
            stop_ids: vec![1],
        };
        let params = SamplingParams {
            stop_length_penalty: Some(penalty),
            top_p: 1.0,
            temperature: 1.0,
            ..params()
        };
        let kept = Sampler::new(params)
            .unwrap()
            .kept(&mut [1.0, 0.0], &[], generated, 2)
            .unwrap();
        let probability = |wanted| {
            kept.iter()
                .find(|(id, _)| *id == wanted)
                .map_or(0.0, |(_, p)| *p)
        };
        probability(1) / probability(0)
    };
    let plain = (-1.0f32).exp();
    for (generated, power) in [(0, 0), (512, 0), (513, 1), (515, 3)] {
        for factor in [1.5f32, 0.5] {
            let expected = plain * factor.powi(power);
            assert!(
                (odds(factor, generated) / expected - 1.0).abs() < 1e-4,
                "{factor} at {generated}"
            );
        }
    }
    assert!(
        odds(1.5, usize::MAX) > 1e30 && odds(0.5, usize::MAX) < 1e-30,
        "no overflow however long"
    );
}

#[test]
fn the_stop_penalty_does_not_bring_back_a_stop_token_that_was_cut() {
    let penalty = StopLengthPenalty {
        factor: 9.0,
        after: 0,
        stop_ids: vec![2],
    };
    let params = SamplingParams {
        stop_length_penalty: Some(penalty),
        top_k: Some(2),
        top_p: 1.0,
        ..params()
    };
    let kept = Sampler::new(params)
        .unwrap()
        .kept(&mut [1.0, 1.0, 0.0], &[], 100, 3)
        .unwrap();
    assert_eq!(kept, [(0, 0.5), (1, 0.5)]);
}

/// Rules out one token, and checks its arguments.
struct Ban(usize);

impl LogitsProcessor for Ban {
    fn apply(&mut self, logits: &mut [f32], history: &[u32], generated: usize) {
        assert_eq!((history, generated), (&[1u32, 2][..], 1));
        logits[self.0] = f32::NEG_INFINITY;
    }
}

#[test]
fn custom_steps_come_first_and_can_rule_tokens_out() {
    let sampler = Sampler::new(SamplingParams::greedy()).unwrap();
    let mut sampler = sampler
        .with_processor(Box::new(Ban(1)))
        .with_processor(Box::new(Ban(2)));
    assert_eq!(
        sampler.sample(&mut [1.0, 9.0, 8.0], &[1, 2], 1, 3).unwrap(),
        0
    );
    let mut sampler = sampler.with_processor(Box::new(Ban(0)));
    let error = sampler
        .sample(&mut [1.0, 9.0, 8.0], &[1, 2], 1, 3)
        .unwrap_err();
    assert_eq!(error, SamplingError::NothingLeft { step: 1 });
}

#[test]
fn presence_counts_once_and_frequency_each_time_and_the_prompt_not_at_all() {
    let params = SamplingParams {
        presence_penalty: 1.0,
        frequency_penalty: 0.5,
        ..SamplingParams::greedy()
    };
    let best = |logits: [f32; 3], generated| {
        Sampler::new(params.clone())
            .unwrap()
            .sample(&mut logits.clone(), &[2, 0, 0], generated, 3)
            .unwrap()
    };
    assert_eq!(best([3.0, 1.1, 1.0], 2), 1, "3 - 1 - 2 * 0.5 is 1");
    assert_eq!(best([3.0, 0.9, 0.8], 2), 0);
    assert_eq!(best([1.0, 1.0, 1.4], 2), 2, "it occurs only in the prompt");
}

#[test]
fn a_bias_makes_a_token_certain_or_impossible_and_takes_the_whole_row() {
    let biased = |bias: f32| SamplingParams {
        logit_bias: vec![(1, bias)],
        ..SamplingParams::greedy()
    };
    let sample = |bias| Sampler::new(biased(bias))?.sample(&mut [5.0, 4.0, 3.0], &[], 0, 3);
    assert_eq!((sample(100.0), sample(-100.0)), (Ok(1), Ok(0)));
    let sampler = Sampler::new(biased(1.0)).unwrap();
    assert_eq!(sampler.request(&[], 0, 3), None);
    assert!(matches!(
        sample(f32::NAN),
        Err(SamplingError::Parameter {
            name: "logit_bias",
            ..
        })
    ));
}

#[test]
fn a_bias_of_an_id_that_may_not_be_drawn_is_an_error() {
    for id in [2, 3, u32::MAX] {
        let params = SamplingParams {
            logit_bias: vec![(0, 1.0), (id, -1.0)],
            ..SamplingParams::greedy()
        };
        let found = Sampler::new(params)
            .unwrap()
            .sample(&mut [5.0, 4.0, 3.0], &[], 0, 2);
        assert_eq!(found, Err(SamplingError::UnknownBias { id, tokens: 2 }));
    }
}
