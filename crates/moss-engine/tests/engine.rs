//! Every way a request can go, on models that need no weights.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use moss_engine::{EngineError, EngineOptions, Event, Request, StopCause, StopRules, Vocabulary};
use moss_sampling::SamplingParams;
use support::{Fake, expected, greedy, mix, scripted, slow, tokenizer};

fn options() -> EngineOptions {
    EngineOptions { queue_limit: 64, max_sequences: 4, prefill_chunk: 8, threads: Some(1) }
}

#[test]
fn an_answer_is_what_the_model_says_token_by_token() {
    let engine = Fake::new(97, 256, mix).start(options(), None);
    let prompt = [3, 1, 4, 1, 5];
    let events: Vec<_> = engine.submit(greedy(&prompt, 20)).unwrap().collect();
    assert!(matches!(events[0], Event::Started { prompt_tokens: 5, reused_tokens: 0 }));
    assert!(matches!(events[1], Event::Prefill { done: 5, total: 5 }));
    let Some(Event::Finished(outcome)) = events.last() else { panic!("{events:?}") };
    assert_eq!(outcome.ids, expected(&prompt, 20));
    assert_eq!(outcome.cause, StopCause::MaxNewTokens);
    assert_eq!((outcome.usage.prefilled_tokens, outcome.usage.generated_tokens), (5, 20));
}

#[test]
fn long_prompts_run_in_chunks_and_report_them() {
    let engine = Fake::new(97, 256, mix).start(options(), None);
    let prompt: Vec<u32> = (0..50).collect();
    let events: Vec<_> = engine.submit(greedy(&prompt, 1)).unwrap().collect();
    let done: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Prefill { done, .. } => Some(*done),
            _ => None,
        })
        .collect();
    assert_eq!(done, [8, 16, 24, 32, 40, 48, 50]);
}

#[test]
fn many_requests_at_once_get_what_each_would_get_alone() {
    let engine = Fake::new(97, 1024, mix).start(options(), None);
    let prompts: Vec<Vec<u32>> = (0..20u32).map(|n| (0..=n * 2).map(|i| (i * n) % 97).collect()).collect();
    let runs: Vec<_> = prompts.iter().map(|prompt| engine.submit(greedy(prompt, 30)).unwrap()).collect();
    for (run, prompt) in runs.into_iter().zip(&prompts) {
        assert_eq!(run.wait().unwrap().ids, expected(prompt, 30));
    }
    assert_eq!(engine.metrics().requests, 20);
    assert_eq!(engine.metrics().generated_tokens, 600);
}

#[test]
fn a_session_runs_only_what_is_new() {
    let engine = Fake::new(97, 256, mix).start(options(), None);
    let session = engine.session();
    let ask = |prompt: &[u32], max| {
        let request = Request { session: Some(session.id()), ..greedy(prompt, max) };
        engine.submit(request).unwrap().wait().unwrap()
    };
    let first: Vec<u32> = (0..40).collect();
    let answer = ask(&first, 10);
    let second: Vec<u32> = first.iter().chain(&answer.ids).copied().chain([5, 6, 7]).collect();
    let outcome = ask(&second, 10);
    assert_eq!(outcome.ids, expected(&second, 10));
    // The last token of the answer was drawn, not run.
    assert_eq!((outcome.usage.reused_tokens, outcome.usage.prefilled_tokens), (49, 4));
    // Another ending: the shared beginning is kept, the rest is forgotten.
    let edited: Vec<u32> = first.iter().copied().chain([9, 9]).collect();
    let outcome = ask(&edited, 5);
    assert_eq!(outcome.ids, expected(&edited, 5));
    assert_eq!(outcome.usage.reused_tokens, 40);
    // The same prompt again: all but its last token.
    assert_eq!(ask(&edited, 5).usage.reused_tokens, 41);
    drop(session);
    let _ = engine.submit(greedy(&[1], 1)).unwrap().wait();
    let _ = engine.submit(greedy(&[1], 1)).unwrap().wait();
    assert_eq!(engine.metrics().cache_blocks_used, 0, "a dropped session gives its blocks back");
}

#[test]
fn idle_sessions_give_way_the_longest_idle_first() {
    // Room for 128 positions in all.
    let engine = Fake::new(97, 128, mix).start(options(), None);
    let prompt: Vec<u32> = (0..40).collect();
    let sessions: Vec<_> = (0..3).map(|_| engine.session()).collect();
    let ask = |session: usize| {
        let request = Request { session: Some(sessions[session].id()), ..greedy(&prompt, 5) };
        engine.submit(request).unwrap().wait().unwrap()
    };
    for session in 0..3 {
        assert_eq!(ask(session).ids, expected(&prompt, 5));
    }
    assert_eq!(ask(2).usage.reused_tokens, 39);
    assert_eq!(ask(0).usage.reused_tokens, 0, "the first one had to go");
}

#[test]
fn a_full_window_ends_the_answer() {
    let engine = Fake::new(97, 64, mix).start(options(), None);
    let outcome = engine.submit(Request::new(vec![1; 60], SamplingParams::greedy())).unwrap().wait().unwrap();
    assert_eq!((outcome.cause, outcome.ids.len()), (StopCause::WindowFull, 4));
    let error = engine.submit(greedy(&[1; 64], 1)).unwrap_err();
    assert!(matches!(error, EngineError::PromptTooLong { found: 64, allowed: 63 }));
    assert!(matches!(engine.submit(greedy(&[], 1)).unwrap_err(), EngineError::EmptyPrompt));
}

#[test]
fn a_stop_token_is_the_last_id_and_no_text() {
    let tokenizer = tokenizer();
    let special = tokenizer.special().unwrap();
    let engine = Fake::new(1536, 256, scripted(3, " 你好！😀<eom>more")).start(options(), Some(tokenizer));
    let mut request = greedy(&[1, 2, 3], 50);
    request.stop.stop_ids = vec![special.eom];
    let run = engine.submit(request).unwrap();
    let mut streamed = String::new();
    let mut last = None;
    for event in run {
        match event {
            Event::Text { piece, .. } => streamed.push_str(&piece),
            event => last = Some(event),
        }
    }
    let Some(Event::Finished(outcome)) = last else { panic!("{last:?}") };
    assert_eq!(outcome.cause, StopCause::EndOfTurn);
    assert_eq!(outcome.text, " 你好！😀");
    assert_eq!(streamed, outcome.text, "the stream is the text");
    assert_eq!(outcome.ids.last(), Some(&special.eom));
}

#[test]
fn a_stop_string_ends_the_text_before_it() {
    let engine =
        Fake::new(1536, 256, scripted(1, "one, two<|Human|>: three")).start(options(), Some(tokenizer()));
    let mut request = greedy(&[1], 50);
    request.stop.stop_strings = vec!["<|Human|>".into()];
    let outcome = engine.submit(request).unwrap().wait().unwrap();
    assert_eq!(outcome.cause, StopCause::StopString("<|Human|>".into()));
    assert_eq!(outcome.text, "one, two");
}

#[test]
fn the_time_limit_ends_an_answer() {
    let engine = Fake::new(97, 256, mix).before(slow).start(options(), None);
    let mut request = greedy(&[1], 200);
    request.stop.time_limit = Some(Duration::from_millis(30));
    let outcome = engine.submit(request).unwrap().wait().unwrap();
    assert_eq!(outcome.cause, StopCause::TimeLimit);
    assert!(!outcome.ids.is_empty() && outcome.ids.len() < 100);
}

#[test]
fn an_answer_can_be_cancelled_at_any_token() {
    let engine = Fake::new(97, 256, mix).before(slow).start(options(), None);
    let mut run = engine.submit(greedy(&[1], 200)).unwrap();
    let cancel = run.cancel_handle();
    let mut tokens = 0;
    let outcome = loop {
        match run.next().unwrap() {
            Event::Text { .. } => {
                tokens += 1;
                if tokens == 5 {
                    cancel.cancel();
                }
            }
            Event::Finished(outcome) => break outcome,
            _ => {}
        }
    };
    assert_eq!(outcome.cause, StopCause::Cancelled);
    assert!((5..10).contains(&outcome.ids.len()));
    assert_eq!(outcome.ids, expected(&[1], outcome.ids.len()));
}

#[test]
fn a_prompt_can_be_cancelled_and_what_was_run_of_it_is_kept() {
    let engine = Fake::new(97, 256, mix).before(slow).start(options(), None);
    let prompt: Vec<u32> = (0..97).collect();
    let session = engine.session();
    let request = || Request { session: Some(session.id()), ..greedy(&prompt, 3) };
    let mut run = engine.submit(request()).unwrap();
    let cancel = run.cancel_handle();
    loop {
        match run.next().unwrap() {
            Event::Prefill { done, .. } if done >= 16 => cancel.cancel(),
            Event::Finished(outcome) => {
                assert_eq!((outcome.cause, outcome.ids.len()), (StopCause::Cancelled, 0));
                break;
            }
            _ => {}
        }
    }
    let outcome = engine.submit(request()).unwrap().wait().unwrap();
    assert!(outcome.usage.reused_tokens >= 16 && outcome.usage.reused_tokens < 97);
    assert_eq!(outcome.ids, expected(&prompt, 3));
}

#[test]
fn a_waiting_request_can_be_cancelled_and_a_dropped_one_ends() {
    let one = EngineOptions { max_sequences: 1, ..options() };
    let engine = Fake::new(97, 256, mix).before(slow).start(one, None);
    let first = engine.submit(greedy(&[1], 100)).unwrap();
    let second = engine.submit(greedy(&[2], 10)).unwrap();
    second.cancel_handle().cancel();
    let outcome = second.wait().unwrap();
    assert_eq!((outcome.cause, outcome.usage.prefilled_tokens), (StopCause::Cancelled, 0));
    drop(first);
    // The one that was dropped makes way long before its hundred tokens.
    assert_eq!(engine.submit(greedy(&[3], 3)).unwrap().wait().unwrap().ids, expected(&[3], 3));
    assert!(engine.metrics().generated_tokens < 100);
}

#[test]
fn the_queue_is_bounded() {
    let small = EngineOptions { queue_limit: 2, max_sequences: 1, ..options() };
    let engine = Fake::new(97, 256, mix).before(slow).start(small, None);
    let mut runs = Vec::new();
    let refused = loop {
        match engine.submit(greedy(&[1], 50)) {
            Ok(run) => runs.push(run),
            Err(error) => break error,
        }
        assert!(runs.len() < 10);
    };
    assert!(matches!(refused, EngineError::QueueFull { limit: 2 }));
    for run in runs {
        assert_eq!(run.wait().unwrap().ids, expected(&[1], 50));
    }
}

#[test]
fn bad_numbers_fail_the_one_request_and_name_layer_and_step() {
    let mut fake = Fake::new(97, 512, mix).before(slow);
    fake.poison = Some(50);
    let engine = fake.start(options(), None);
    let well = engine.submit(greedy(&[1, 2], 20)).unwrap();
    let ill = engine.submit(greedy(&[50], 20)).unwrap();
    let error = ill.wait().unwrap_err();
    assert!(matches!(error, EngineError::Model { step: 0, .. }));
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.contains("layer 3") && text.contains("NaN"), "{text}");
    // Its neighbour may come upon the same id by itself; what it says until then is right.
    match well.wait() {
        Ok(outcome) => assert_eq!(outcome.ids, expected(&[1, 2], 20)),
        Err(_) => assert!(expected(&[1, 2], 20).contains(&50)),
    }
}

#[test]
fn a_panic_in_the_model_is_reported_and_nothing_hangs() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let fake = Fake::new(97, 256, mix).before(move |_| {
        if counter.fetch_add(1, SeqCst) == 3 {
            panic!("boom");
        }
    });
    let engine = fake.start(options(), None);
    let error = engine.submit(greedy(&[1], 20)).unwrap().wait().unwrap_err();
    assert!(matches!(error, EngineError::Panicked { ref message } if message == "boom"), "{error}");
    assert!(matches!(engine.submit(greedy(&[1], 20)).unwrap().wait(), Err(EngineError::Panicked { .. })));
}

#[test]
fn rows_beyond_the_tokenizer_are_drawn_only_when_asked_for() {
    let next = |_: &[u32]| 1530;
    let engine = Fake::new(1536, 64, next).start(options(), Some(tokenizer()));
    let real = engine.submit(greedy(&[1], 3)).unwrap().wait().unwrap();
    assert!(real.ids.iter().all(|id| *id < 1506));
    let request = Request { vocabulary: Vocabulary::EveryRow, ..greedy(&[1], 3) };
    let every = engine.submit(request).unwrap().wait().unwrap();
    assert_eq!((every.ids, every.text), (vec![1530; 3], String::new()));
}

#[test]
fn an_engine_that_is_dropped_ends_its_runs() {
    let engine = Fake::new(97, 256, mix).before(slow).start(options(), None);
    let run = engine.submit(greedy(&[1], 250)).unwrap();
    drop(engine);
    let outcome = run.wait().unwrap();
    assert_eq!(outcome.cause, StopCause::Cancelled);
}

#[test]
fn parameters_out_of_range_are_refused_before_they_are_queued() {
    let engine = Fake::new(97, 64, mix).start(options(), None);
    let bad = SamplingParams { top_p: 2.0, ..SamplingParams::chat() };
    let request = Request { stop: StopRules::default(), ..Request::new(vec![1], bad) };
    assert!(matches!(engine.submit(request).unwrap_err(), EngineError::Sampling(_)));
}
