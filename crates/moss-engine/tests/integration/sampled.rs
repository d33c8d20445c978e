//! With a model that samples on its device instead of returning rows, the tokens are the same.

use moss_engine::{EngineError, Request, StopRules};
use moss_sampling::{LogitsProcessor, SamplingError, SamplingParams, StopLengthPenalty};
use moss_testing::model::{Fault, ScriptedModel};

use crate::support::{StartEngine, expected, greedy, mix, options, slow};

/// Returns multiples of a third, so that some tie; the same for the same history.
fn noise(history: &[u32], id: u32) -> f32 {
    let hash = history
        .iter()
        .chain([&id])
        .fold(11u32, |hash, id| hash.wrapping_mul(0x9e37_79b1) ^ (id + 1));
    (hash >> 13) as f32 % 40.0 / 3.0 - 4.0
}

fn model(samples: bool) -> ScriptedModel {
    let mut model = ScriptedModel::new(97, 1024, mix);
    model.samples = samples;
    model.noise = Some(noise);
    model
}

/// Returns the outcomes of several concurrent requests.
fn said(model: ScriptedModel, params: &[SamplingParams]) -> Vec<Vec<u32>> {
    let engine = model.start(options(), None);
    let stop = StopRules {
        max_new_tokens: Some(40),
        ..StopRules::default()
    };
    let request = |(i, params): (usize, &SamplingParams)| {
        let prompt = (0..5 + i as u32).map(|id| (id * id) % 97).collect();
        engine
            .submit(Request {
                stop: stop.clone(),
                ..Request::new(prompt, params.clone())
            })
            .unwrap()
    };
    let runs: Vec<_> = params.iter().enumerate().map(request).collect();
    runs.into_iter()
        .map(|run| run.wait().unwrap().ids)
        .collect()
}

#[test]
fn a_model_that_samples_gives_the_same_answer_for_every_seed_and_setting() {
    let chat = SamplingParams::CHAT;
    let stop_length_penalty = Some(StopLengthPenalty {
        factor: 1.3,
        after: 10,
        stop_ids: vec![7, 8],
    });
    let settings = [
        chat.clone(),
        SamplingParams {
            repetition_penalty: 1.5,
            top_p: 1.0,
            ..chat.clone()
        },
        SamplingParams {
            temperature: 1.0,
            top_k: Some(3),
            min_p: 0.1,
            ..chat.clone()
        },
        SamplingParams {
            top_k: Some(256),
            top_p: 0.95,
            stop_length_penalty,
            ..chat.clone()
        },
        SamplingParams {
            repetition_penalty: 1.2,
            ..SamplingParams::greedy()
        },
        SamplingParams {
            top_k: None,
            ..chat
        },
    ];
    for seed in 0..8 {
        let params: Vec<_> = settings
            .iter()
            .map(|params| SamplingParams {
                seed: Some(seed),
                ..params.clone()
            })
            .collect();
        assert_eq!(
            said(model(true), &params),
            said(model(false), &params),
            "seed {seed}"
        );
    }
}

#[test]
fn a_greedy_answer_has_the_most_likely_tokens() {
    let mut model = ScriptedModel::new(97, 256, mix);
    model.samples = true;
    let ids = model
        .start(options(), None)
        .submit(greedy(&[1, 2, 3], 30))
        .unwrap()
        .wait()
        .unwrap()
        .ids;
    assert_eq!(ids, expected(&[1, 2, 3], 30));
}

#[test]
fn logits_without_a_token_come_as_a_row_and_fail_as_ever() {
    for fault in [Fault::NanLogits, Fault::InfiniteLogits] {
        let model = model(true);
        model.faults.after(4, fault);
        let error = model
            .start(options(), None)
            .submit(greedy(&[1, 2, 3], 20))
            .unwrap()
            .wait()
            .unwrap_err();
        let EngineError::Sampling(
            SamplingError::BadLogits { step, .. } | SamplingError::NothingLeft { step },
        ) = &error
        else {
            panic!("{fault:?}: {error}")
        };
        assert_eq!(*step, 4);
    }
}

/// A step that needs the whole row.
struct Favour(u32);

impl LogitsProcessor for Favour {
    fn apply(&mut self, logits: &mut [f32], _: &[u32], _: usize) {
        assert_eq!(logits.len(), 97);
        logits[self.0 as usize] = 99.0;
    }
}

#[test]
fn custom_steps_see_the_whole_row() {
    let engine = model(true).start(options(), None);
    let request = Request {
        processors: vec![Box::new(Favour(5))],
        ..greedy(&[4], 3)
    };
    assert_eq!(
        engine.submit(request).unwrap().wait().unwrap().ids,
        [5, 5, 5]
    );
}

#[test]
fn a_repeated_forward_batch_draws_with_the_same_random_numbers() {
    let params = SamplingParams {
        seed: Some(3),
        ..SamplingParams::CHAT
    };
    let request = |prompt: Vec<u32>| Request {
        stop: StopRules {
            max_new_tokens: Some(30),
            ..StopRules::default()
        },
        ..Request::new(prompt, params.clone())
    };
    let alone = said_by(model(true), request(vec![1, 2]));
    let disturbed = model(true).before(slow);
    // Fails the last sequence of a batch; the other one repeats its chunk.
    disturbed.faults.after(12, Fault::NonFinite);
    let engine = disturbed.start(options(), None);
    let first = engine.submit(request(vec![1, 2])).unwrap();
    let second = engine.submit(request(vec![3])).unwrap();
    assert_eq!(first.wait().unwrap().ids, alone);
    assert!(matches!(second.wait(), Err(EngineError::Model { .. })));
}

fn said_by(model: ScriptedModel, request: Request) -> Vec<u32> {
    let engine = model.start(options(), None);
    engine.submit(request).unwrap().wait().unwrap().ids
}
