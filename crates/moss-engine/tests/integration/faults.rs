//! Faults of a forward pass: the requests that they affect end with a typed error.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use moss_engine::{EngineError, Request, StopRules, Vocabulary};
use moss_sampling::{LogitsProcessor, SamplingError, SamplingParams};
use moss_testing::model::{Fault, ScriptedModel};

use crate::support::{StartEngine, expected, greedy, mix, options, slow, tokenizer};

#[test]
fn bad_numbers_fail_the_one_request_and_name_layer_and_step() {
    let mut model = ScriptedModel::new(97, 512, mix).before(slow);
    model.poison = Some(50);
    let engine = model.start(options(), None);
    let well = engine.submit(greedy(&[1, 2], 20)).unwrap();
    let ill = engine.submit(greedy(&[50], 20)).unwrap();
    let error = ill.wait().unwrap_err();
    assert!(matches!(error, EngineError::Model { step: 0, .. }));
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.contains("layer 3") && text.contains("NaN"), "{text}");
    // The other sequence may generate the same id; its tokens until then are correct.
    match well.wait() {
        Ok(outcome) => assert_eq!(outcome.ids, expected(&[1, 2], 20)),
        Err(_) => assert!(expected(&[1, 2], 20).contains(&50)),
    }
}

#[test]
fn a_panic_in_the_model_is_reported_and_nothing_hangs() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let model = ScriptedModel::new(97, 256, mix).before(move |_| {
        if counter.fetch_add(1, SeqCst) == 3 {
            panic!("boom");
        }
    });
    let engine = model.start(options(), None);
    let error = engine.submit(greedy(&[1], 20)).unwrap().wait().unwrap_err();
    assert!(
        matches!(error, EngineError::Panicked { ref message } if message == "boom"),
        "{error}"
    );
    assert!(matches!(
        engine.submit(greedy(&[1], 20)).unwrap().wait(),
        Err(EngineError::Panicked { .. })
    ));
}

#[test]
fn parameters_out_of_range_are_refused_before_they_are_queued() {
    let engine = ScriptedModel::new(97, 64, mix).start(options(), None);
    let bad = SamplingParams {
        top_p: 2.0,
        ..SamplingParams::CHAT
    };
    let request = Request {
        stop: StopRules::default(),
        ..Request::new(vec![1], bad)
    };
    assert!(matches!(
        engine.submit(request).unwrap_err(),
        EngineError::Sampling(_)
    ));
}

fn error_of(fault: Fault) -> EngineError {
    let model = ScriptedModel::new(97, 256, mix);
    model.faults.after(4, fault);
    let engine = model.start(options(), None);
    let error = engine
        .submit(greedy(&[1, 2, 3], 20))
        .unwrap()
        .wait()
        .unwrap_err();
    // The next request succeeds.
    assert_eq!(
        engine.submit(greedy(&[5], 10)).unwrap().wait().unwrap().ids,
        expected(&[5], 10)
    );
    error
}

#[test]
fn logits_that_cannot_be_drawn_from_name_the_step() {
    for fault in [Fault::NanLogits, Fault::InfiniteLogits] {
        let error = error_of(fault);
        let EngineError::Sampling(
            SamplingError::BadLogits { step, .. } | SamplingError::NothingLeft { step, .. },
        ) = &error
        else {
            panic!("{fault:?}: {error}")
        };
        assert_eq!(*step, 4);
    }
}

#[test]
fn too_few_logits_are_an_error() {
    for (fault, given) in [
        (Fault::NoRows, 0),
        (Fault::ShortRows, 96),
        (Fault::MissingOutput, 0),
    ] {
        match error_of(fault) {
            EngineError::LogitsMissing {
                step: 4,
                found,
                expected: 97,
            } => assert_eq!(found, given),
            error => panic!("{fault:?}: {error}"),
        }
    }
}

#[test]
fn a_sampled_token_outside_of_the_vocabulary_is_an_error() {
    let mut model = ScriptedModel::new(97, 256, mix);
    model.samples = true;
    model.faults.after(2, Fault::UnknownToken);
    let engine = model.start(options(), None);
    let error = engine.submit(greedy(&[1], 9)).unwrap().wait().unwrap_err();
    assert!(
        matches!(
            error,
            EngineError::Sampling(SamplingError::NotAllowed {
                step: 2,
                id: 97,
                tokens: 97
            })
        ),
        "{error}"
    );
}

#[test]
fn a_token_where_a_row_was_requested_is_an_error() {
    let model = ScriptedModel::new(97, 256, mix);
    model.faults.after(0, Fault::UnrequestedToken);
    let engine = model.start(options(), None);
    let whole = SamplingParams {
        top_k: None,
        ..SamplingParams::CHAT
    };
    let error = engine
        .submit(Request::new(vec![1], whole))
        .unwrap()
        .wait()
        .unwrap_err();
    assert!(
        matches!(
            error,
            EngineError::LogitsMissing {
                step: 0,
                found: 0,
                expected: 97
            }
        ),
        "{error}"
    );
}

#[test]
fn an_error_that_names_no_sequence_fails_the_whole_batch_and_later_requests_succeed() {
    let model = ScriptedModel::new(97, 1024, mix).before(slow);
    model.faults.after(6, Fault::Error);
    let engine = model.start(options(), None);
    let runs: Vec<_> = (1..4)
        .map(|id| engine.submit(greedy(&[id], 20)).unwrap())
        .collect();
    for run in runs {
        assert!(matches!(run.wait(), Err(EngineError::Model { .. })));
    }
    assert_eq!(
        engine.submit(greedy(&[5], 10)).unwrap().wait().unwrap().ids,
        expected(&[5], 10)
    );
}

#[test]
fn an_id_without_an_embedding_row_is_refused_before_it_harms_the_batch() {
    let engine = ScriptedModel::new(97, 256, mix).start(options(), None);
    let error = engine.submit(greedy(&[3, 97], 5)).unwrap_err();
    assert!(matches!(
        error,
        EngineError::UnknownToken {
            position: 1,
            id: 97,
            rows: 97
        }
    ));
    assert!(error.hint().is_some());
    assert_eq!(engine.metrics().waiting, 0);
}

#[test]
fn ids_without_a_token_are_refused_wherever_a_request_names_them() {
    let engine = ScriptedModel::new(1536, 256, mix).start(options(), Some(tokenizer()));
    let refused = |change: &dyn Fn(&mut Request)| {
        let mut request = greedy(&[3], 5);
        change(&mut request);
        engine.submit(request).unwrap_err()
    };
    let tokens = 1506;
    for id in [1506, 1535, 1536, u32::MAX] {
        let error = refused(&|request| request.sampling.logit_bias = vec![(7, 1.0), (id, 1.0)]);
        assert!(
            matches!(error, EngineError::Sampling(SamplingError::UnknownBias { id: found, tokens: all }) if found == id && all == tokens),
            "{error}"
        );
        let error = refused(&|request| request.stop.stop_ids = vec![id]);
        assert!(
            matches!(error, EngineError::UnknownStop { id: found, tokens: all } if found == id && all == tokens)
        );
        let error = refused(&|request| request.prompt.push(id));
        assert!(
            matches!(
                error,
                EngineError::Text(_) | EngineError::UnknownToken { .. }
            ),
            "{error}"
        );
        assert!(error.hint().is_some() && error.to_string().contains(&id.to_string()));
    }
    // Rows without a token can be enabled.
    let mut every = greedy(&[3, 1530], 1);
    (every.vocabulary, every.sampling.logit_bias) = (Vocabulary::EveryRow, vec![(1535, 1.0)]);
    engine.submit(every).unwrap().wait().unwrap();
    assert_eq!(engine.metrics().waiting, 0);
}

#[test]
fn stop_strings_need_text_to_look_in() {
    let engine = ScriptedModel::new(97, 256, mix).start(options(), None);
    let mut request = greedy(&[3], 5);
    request.stop.stop_strings = vec!["停".into()];
    assert!(matches!(
        engine.submit(request).unwrap_err(),
        EngineError::NoTokenizer
    ));
}

struct Bomb;

impl LogitsProcessor for Bomb {
    fn apply(&mut self, _: &mut [f32], _: &[u32], generated: usize) {
        assert!(generated < 3, "three is enough");
    }
}

#[test]
fn a_logits_step_that_panics_fails_its_own_request_alone() {
    let engine = ScriptedModel::new(97, 512, mix)
        .before(slow)
        .start(options(), None);
    let well = engine.submit(greedy(&[1, 2], 20)).unwrap();
    let ill = engine
        .submit(Request {
            processors: vec![Box::new(Bomb)],
            ..greedy(&[4], 20)
        })
        .unwrap();
    match ill.wait() {
        Err(EngineError::StepPanicked { step: 3, message }) => {
            assert!(message.contains("three is enough"))
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(well.wait().unwrap().ids, expected(&[1, 2], 20));
}

struct Only(u32);

impl LogitsProcessor for Only {
    fn apply(&mut self, logits: &mut [f32], _: &[u32], _: usize) {
        for (id, logit) in logits.iter_mut().enumerate() {
            *logit = if id == self.0 as usize {
                1.0
            } else {
                f32::NEG_INFINITY
            };
        }
    }
}

#[test]
fn a_logits_step_has_its_way() {
    let engine = ScriptedModel::new(97, 256, mix).start(options(), None);
    let request = Request {
        processors: vec![Box::new(Only(42))],
        ..greedy(&[1], 4)
    };
    assert_eq!(engine.submit(request).unwrap().wait().unwrap().ids, [42; 4]);
}
