//! Speculative decoding: the events of a request are those of plain decoding.

use std::sync::Arc;

use moss_engine::{
    EngineOptions, Event, Metrics, Request, Run,
    Speculation::{self, Auto, Drafts, Off},
    StopCause, StopRules,
};
use moss_model::TokenKind;
use moss_sampling::{SamplingParams, StopLengthPenalty};
use moss_testing::model::{Fault, ScriptedModel, SeenChunk};
use proptest::prelude::*;

use crate::support::{StartEngine, greedy, mix, options, scripted, tokenizer};

/// The tokens of a period, except for every 17th: drafts are accepted, and rejected in the middle.
fn echo(history: &[u32]) -> u32 {
    let len = history.len();
    match history.get(len.wrapping_sub(6)) {
        Some(id) if !len.is_multiple_of(17) => *id,
        _ => mix(history),
    }
}

/// Multiples of a third, so that some tie; the same for the same history.
fn noise(history: &[u32], id: u32) -> f32 {
    let hash = history
        .iter()
        .chain([&id])
        .fold(11u32, |hash, id| hash.wrapping_mul(0x9e37_79b1) ^ (id + 1));
    (hash >> 13) as f32 % 40.0 / 3.0 - 4.0
}

fn model(samples: bool) -> ScriptedModel {
    let mut model = ScriptedModel::new(97, 1024, echo);
    model.samples = samples;
    model.noise = Some(noise);
    model
}

fn with(speculation: Speculation, max_sequences: usize) -> EngineOptions {
    EngineOptions {
        speculation,
        max_sequences,
        ..options()
    }
}

/// Sampling parameters that the model can sample with, and some that need whole rows of logits.
fn settings(seed: u64) -> Vec<SamplingParams> {
    let chat = SamplingParams {
        seed: Some(seed),
        ..SamplingParams::CHAT
    };
    let stop_length_penalty = Some(StopLengthPenalty {
        factor: 1.3,
        after: 10,
        stop_ids: (0..8).collect(), // more than a model can weigh, from the tenth token on
    });
    vec![
        chat.clone(),
        SamplingParams {
            temperature: 1.5,
            top_k: Some(5),
            repetition_penalty: 1.02,
            ..chat.clone()
        },
        SamplingParams {
            temperature: 0.1,
            repetition_penalty: 1.0,
            ..chat.clone()
        },
        SamplingParams {
            stop_length_penalty,
            repetition_penalty: 1.0,
            ..chat.clone()
        },
        SamplingParams {
            top_k: None,
            ..chat
        },
        SamplingParams::greedy(),
    ]
}

/// Returns the parts of an event that do not depend on time.
fn shown(event: Event) -> String {
    match event {
        Event::Finished(outcome) => {
            format!("{:?} {:?} {}", outcome.cause, outcome.ids, outcome.text)
        }
        Event::Failed(error) => error.to_string(),
        event => format!("{event:?}"),
    }
}

/// Returns the events of concurrent requests after their first token, and the metrics.
fn events(
    model: ScriptedModel,
    options: EngineOptions,
    requests: Vec<Request>,
) -> (Vec<Vec<String>>, Metrics) {
    let engine = model.start(options, None);
    let requests = requests.into_iter();
    let runs: Vec<_> = requests
        .map(|request| engine.submit(request).unwrap())
        .collect();
    let of_run = |run: Run| -> Vec<String> {
        let is_text =
            |event: &Event| !matches!(event, Event::Started { .. } | Event::Prefill { .. });
        run.filter(is_text).map(shown).collect()
    };
    let all = runs.into_iter().map(of_run).collect();
    (all, engine.metrics())
}

fn requests(seed: u64) -> Vec<Request> {
    let settings = settings(seed).into_iter().enumerate();
    let request = |(i, params): (usize, SamplingParams)| Request {
        stop: StopRules {
            max_new_tokens: Some(60 + i),
            stop_ids: if i == 2 { vec![3] } else { vec![] },
            ..StopRules::default()
        },
        ..Request::new((0..7 + i as u32).map(|id| id * id % 97).collect(), params)
    };
    settings.map(request).collect()
}

#[test]
fn drafts_change_no_event_of_any_request() {
    for seed in 0..4 {
        let (expected, plain) = events(model(false), with(Off, 1), requests(seed));
        assert_eq!((plain.drafted_tokens, plain.accepted_tokens), (0, 0));
        for samples in [false, true] {
            for speculation in [Auto, Drafts(1), Drafts(3), Drafts(7)] {
                for max_sequences in [1, 2, 6] {
                    let options = with(speculation, max_sequences);
                    let (found, metrics) = events(model(samples), options, requests(seed));
                    let text = format!("{speculation:?}, {max_sequences} sequences, {samples}");
                    assert_eq!(found, expected, "{text}");
                    assert_eq!(metrics.generated_tokens, plain.generated_tokens, "{text}");
                    if speculation != Auto && max_sequences < 6 {
                        let Metrics {
                            drafted_tokens,
                            accepted_tokens,
                            ..
                        } = metrics;
                        assert!(accepted_tokens > 20, "{text}: {metrics:?}");
                        assert!(accepted_tokens < drafted_tokens, "{text}: {metrics:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_step_has_at_most_eight_rows_with_drafts_and_those_are_generated_tokens() {
    for (sequences, most) in [(1, 8), (2, 4), (3, 2), (4, 2), (5, 1)] {
        let model = model(true);
        let seen = model.seen.clone();
        let requests = (0..sequences).map(|_| greedy(&[1, 2, 3], 400)).collect();
        events(model, with(Drafts(7), sequences), requests);
        let seen = seen.lock().unwrap();
        let rows = |batch: &&Vec<SeenChunk>| batch.iter().map(|c| c.token_ids.len()).max();
        let has_drafts = |batch: &&Vec<SeenChunk>| {
            let mut chunks = batch.iter();
            chunks.all(|c| c.kind == TokenKind::Generated) && rows(batch) > Some(1)
        };
        for batch in seen.iter().filter(has_drafts) {
            let all: usize = batch.iter().map(|chunk| chunk.token_ids.len()).sum();
            assert!(all <= 8, "{sequences}: {batch:?}");
        }
        let together = seen.iter().filter(|batch| {
            let mut chunks = batch.iter();
            batch.len() == sequences && chunks.all(|c| c.kind == TokenKind::Generated)
        });
        assert_eq!(together.filter_map(|batch| rows(&batch)).max(), Some(most));
    }
}

/// Returns the events of a scripted text.
fn said(speculation: Speculation, script: &str, stops: &[&str], max: usize) -> Vec<String> {
    let model = ScriptedModel::new(1536, 512, scripted(1, script));
    let engine = model.start(with(speculation, 1), Some(tokenizer()));
    let mut request = greedy(&[1], max);
    request.stop.stop_strings = stops.iter().map(|&stop| stop.into()).collect();
    let run = engine.submit(request).unwrap();
    let events = run.filter(|event| !matches!(event, Event::Prefill { .. }));
    events.map(shown).collect()
}

#[test]
fn stop_strings_and_characters_of_several_tokens_end_inside_accepted_drafts() {
    let script = "你好😀，再见👩‍👩‍👧。".repeat(5) + "你好😀，停止👩‍👩‍👧。" + &"a b ".repeat(9);
    let count = tokenizer().encode(&script).unwrap().len();
    for stops in [
        &[][..],
        &["停止"],
        &["停"],
        &["，停", "b a b"],
        &["b a b a"],
        &["好😀，再见👩‍👩‍👧。你"],
    ] {
        for max in [count, count / 2, 7] {
            let expected = said(Off, &script, stops, max);
            for speculation in [Drafts(1), Drafts(2), Drafts(5), Drafts(7)] {
                let found = said(speculation, &script, stops, max);
                assert_eq!(found, expected, "{stops:?}, {max}, {speculation:?}");
            }
        }
    }
}

#[test]
fn a_reply_ends_at_its_limit_whatever_was_accepted() {
    let prompt: Vec<u32> = (0..12).map(|id| id % 4).collect();
    let request = |max: Option<usize>| Request {
        stop: StopRules {
            max_new_tokens: max,
            ..StopRules::default()
        },
        ..greedy(&prompt, 0)
    };
    for max in (1..30).map(Some).chain([None]) {
        let [plain, drafted] = [Off, Drafts(7)].map(|speculation| {
            let engine = model(true).start(with(speculation, 1), None);
            engine.submit(request(max)).unwrap().wait().unwrap()
        });
        assert_eq!((&plain.cause, &plain.ids), (&drafted.cause, &drafted.ids));
        let (cause, len) = match max {
            Some(max) => (StopCause::MaxNewTokens, max),
            None => (StopCause::WindowFull, 256 - 12),
        };
        assert_eq!((drafted.cause, drafted.ids.len()), (cause, len));
    }
}

/// A later request finds the blocks of accepted tokens only.
#[test]
fn the_cache_has_the_accepted_tokens() {
    let [plain, drafted] = [Off, Drafts(7)].map(|speculation| {
        let engine = model(true).start(with(speculation, 1), None);
        let mut ids: Vec<u32> = (0..20).map(|id| id % 4).collect();
        let mut turns = Vec::new();
        for _ in 0..3 {
            let outcome = engine.submit(greedy(&ids, 37)).unwrap().wait().unwrap();
            turns.push((outcome.ids.clone(), outcome.usage.reused_tokens));
            ids.extend(outcome.ids);
            ids.extend([8, 9]);
        }
        turns
    });
    assert_eq!(drafted, plain);
    assert!(
        plain.iter().skip(1).all(|(_, reused)| *reused > 32),
        "{plain:?}"
    );
}

#[test]
fn a_failure_of_another_sequence_changes_no_token() {
    for fault in [Fault::NonFinite, Fault::NanLogits] {
        let (expected, _) = events(model(true), with(Off, 1), requests(1));
        for after in [6, 9, 14] {
            let model = model(true);
            model.faults.after(after, fault);
            let (found, _) = events(model, with(Drafts(3), 2), requests(1));
            let same = found.iter().zip(&expected).filter(|(a, b)| a == b).count();
            // A batch with non-finite values is repeated without its drafts.
            let most = expected.len() - usize::from(fault == Fault::NanLogits);
            assert!(
                (expected.len() - 2..=most).contains(&same),
                "{fault:?}: {same}"
            );
        }
    }
}

#[test]
fn non_finite_values_of_a_draft_do_not_end_its_request() {
    let request = || greedy(&[1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6], 60);
    let plain = model(true).start(with(Off, 1), None);
    let expected = plain.submit(request()).unwrap().wait().unwrap().ids;
    let model = model(true);
    model.faults.after(2, Fault::NonFinite); // the prompt takes two passes
    let (seen, engine) = (model.seen.clone(), model.start(with(Drafts(7), 1), None));
    let found = engine.submit(request()).unwrap().wait().unwrap().ids;
    assert_eq!(found, expected);
    let rows = |batch: &Vec<SeenChunk>| batch[0].token_ids.len();
    let seen: Vec<_> = seen.lock().unwrap().iter().map(rows).collect();
    assert!(seen[2] > 1, "{seen:?}");
    assert!(seen[3..].iter().all(|rows| *rows == 1), "{seen:?}");
}

#[test]
fn requests_for_log_probabilities_have_no_drafts() {
    let engine = model(true).start(with(Drafts(7), 1), None);
    let request = Request {
        logprobs: Some(2),
        ..greedy(&[1, 2, 1, 2, 1, 2], 40)
    };
    engine.submit(request).unwrap().wait().unwrap();
    assert_eq!(engine.metrics().drafted_tokens, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_mix_of_requests_gets_the_tokens_of_plain_decoding(
        plans in prop::collection::vec((1usize..40, 0u32..4, 0usize..50, prop::option::weighted(0.3, 0usize..20)), 1..9),
        drafts in 1usize..8,
        max_sequences in 1usize..5,
        seed in 0u64..1000,
    ) {
        let request = |(len, first, max, _): &(usize, u32, usize, Option<usize>)| Request {
            owner: Arc::from("a"),
            stop: StopRules { max_new_tokens: Some(*max), ..StopRules::default() },
            ..Request::new(
                (0..*len as u32).map(|i| (first + i) % 7).collect(),
                SamplingParams { seed: Some(seed), temperature: 0.3, ..SamplingParams::CHAT },
            )
        };
        let plain = model(true).start(with(Off, 1), None);
        let engine = model(true).start(with(Drafts(drafts), max_sequences), None);
        let runs: Vec<_> = plans.iter().map(|plan| engine.submit(request(plan)).unwrap()).collect();
        for (run, plan) in runs.into_iter().zip(&plans) {
            let expected = plain.submit(request(plan)).unwrap().wait().unwrap().ids;
            let (cancel, mut tokens, mut last) = (run.cancel_handle(), 0, None);
            for event in run {
                match event {
                    Event::Text { .. } => tokens += 1,
                    Event::Finished(outcome) => last = Some(outcome),
                    Event::Failed(error) => panic!("{error}"),
                    _ => {}
                }
                if plan.3.is_some_and(|after| tokens >= after) {
                    cancel.cancel();
                }
            }
            let outcome = last.unwrap();
            prop_assert_eq!(&outcome.ids[..], &expected[..outcome.ids.len()]);
            prop_assert!(outcome.cause == StopCause::Cancelled || outcome.ids.len() == expected.len());
            prop_assert!(outcome.usage.accepted_tokens <= outcome.usage.drafted_tokens);
        }
        engine.submit(greedy(&[1], 1)).unwrap().wait().unwrap();
        let metrics = engine.metrics();
        prop_assert_eq!((metrics.waiting, metrics.running, metrics.cache_blocks_used), (0, 0, 0));
    }
}
