//! Cancellation, dropped handles and time limits, in the queue, in the prompt and in the answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use moss_engine::{EngineOptions, Event, PromptLimit, StopCause};
use moss_testing::model::ScriptedModel;

use crate::support::{Pace, StartEngine, expected, greedy, mix, options, slow};

#[test]
fn the_time_limit_ends_an_answer() {
    let engine = ScriptedModel::new(97, 256, mix)
        .before(slow)
        .start(options(), None);
    let mut request = greedy(&[1], 200);
    request.stop.time_limit = Some(Duration::from_millis(30));
    let outcome = engine.submit(request).unwrap().wait().unwrap();
    assert_eq!(outcome.cause, StopCause::TimeLimit);
    assert!(!outcome.ids.is_empty() && outcome.ids.len() < 100);
}

#[test]
fn an_answer_can_be_cancelled_at_any_token() {
    // The whole answer takes four seconds, and the first five tokens 100 ms.
    let engine = ScriptedModel::new(97, 256, mix)
        .before(Pace::ms(20).wait())
        .start(options(), None);
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
    assert!((5..200).contains(&outcome.ids.len()));
    assert_eq!(outcome.ids, expected(&[1], outcome.ids.len()));
}

#[test]
fn a_prompt_can_be_cancelled_and_what_was_run_of_it_is_kept() {
    // 13 chunks: after the second, the rest of the prompt takes two seconds.
    let pace = Pace::ms(200);
    let engine = ScriptedModel::new(97, 256, mix)
        .before(pace.wait())
        .start(options(), None);
    let prompt: Vec<u32> = (0..97).collect();
    let request = || greedy(&prompt, 3);
    let mut run = engine.submit(request()).unwrap();
    let cancel = run.cancel_handle();
    loop {
        match run.next().unwrap() {
            Event::Prefill { done, .. } if done >= 16 => cancel.cancel(),
            Event::Finished(outcome) => {
                assert_eq!(
                    (outcome.cause, outcome.ids.len()),
                    (StopCause::Cancelled, 0)
                );
                break;
            }
            _ => {}
        }
    }
    pace.set_ms(0);
    let outcome = engine.submit(request()).unwrap().wait().unwrap();
    assert!(outcome.usage.reused_tokens >= 16 && outcome.usage.reused_tokens < 97);
    assert_eq!(outcome.ids, expected(&prompt, 3));
}

#[test]
fn a_waiting_request_can_be_cancelled_and_a_dropped_one_ends() {
    let one = EngineOptions {
        max_sequences: 1,
        ..options()
    };
    let engine = ScriptedModel::new(97, 256, mix)
        .before(Pace::ms(20).wait())
        .start(one, None);
    let first = engine.submit(greedy(&[1], 100)).unwrap();
    let second = engine.submit(greedy(&[2], 10)).unwrap();
    second.cancel_handle().cancel();
    let outcome = second.wait().unwrap();
    assert_eq!(
        (outcome.cause, outcome.usage.prefilled_tokens),
        (StopCause::Cancelled, 0)
    );
    drop(first);
    // The dropped request ends long before its hundred tokens, which take two seconds.
    assert_eq!(
        engine.submit(greedy(&[3], 3)).unwrap().wait().unwrap().ids,
        expected(&[3], 3)
    );
    assert!(engine.metrics().generated_tokens < 100);
}

#[test]
fn an_engine_that_is_dropped_ends_its_runs() {
    let engine = ScriptedModel::new(97, 256, mix)
        .before(Pace::ms(20).wait())
        .start(options(), None);
    let run = engine.submit(greedy(&[1], 250)).unwrap();
    drop(engine);
    let outcome = run.wait().unwrap();
    assert_eq!(outcome.cause, StopCause::Cancelled);
}

/// Half the time that a pass of a [`deep`] model takes, and far more than one of its layers.
const HALF_A_PASS: Duration = Duration::from_secs(5);

/// Lets a forward pass take 10 seconds, in 500 layers.
fn deep(mut model: ScriptedModel) -> ScriptedModel {
    model.layers = 500;
    model.before(Pace::ms(20).wait())
}

#[test]
fn a_pass_stops_in_its_middle_once_all_its_requests_are_cancelled() {
    let whole = EngineOptions {
        prefill_chunk: Some(64),
        ..options()
    };
    let engine = deep(ScriptedModel::new(97, 1024, mix)).start(whole, None);
    let runs =
        [greedy(&[1; 40], 5), greedy(&[2], 5)].map(|request| engine.submit(request).unwrap());
    std::thread::sleep(Duration::from_millis(50));
    let cancelled = Instant::now();
    runs.iter().for_each(|run| run.cancel());
    for run in runs {
        let outcome = run.wait().unwrap();
        assert_eq!(
            (outcome.cause, outcome.ids.len()),
            (StopCause::Cancelled, 0)
        );
    }
    assert!(
        cancelled.elapsed() < HALF_A_PASS,
        "within a layer, not within a pass"
    );
}

#[test]
fn time_runs_out_in_the_middle_of_a_pass_too() {
    // Passes of one token are slow, and the pass of the prompt is not.
    let pace = Pace::ms(20).wait();
    let mut model = ScriptedModel::new(97, 256, mix).before(move |tokens| {
        if tokens == 1 {
            pace(tokens)
        }
    });
    model.layers = 500;
    let engine = model.start(options(), None);
    let mut request = greedy(&[1; 5], 5);
    request.stop.time_limit = Some(Duration::from_millis(30));
    let start = Instant::now();
    let outcome = engine.submit(request).unwrap().wait().unwrap();
    assert_eq!(
        (outcome.cause, outcome.ids.len()),
        (StopCause::TimeLimit, 1)
    );
    assert!(start.elapsed() < HALF_A_PASS);
}

#[test]
fn the_limit_of_an_answer_starts_at_its_first_token() {
    // A prompt of 40 tokens takes at least 400 ms, ten times the limit of the answer.
    let by_row = |rows| std::thread::sleep(Duration::from_millis(10) * rows as u32);
    let engine = ScriptedModel::new(97, 256, mix)
        .before(by_row)
        .start(options(), None);
    let mut request = greedy(&[1; 40], 200);
    request.stop.time_limit = Some(Duration::from_millis(40));
    let outcome = engine.submit(request).unwrap().wait().unwrap();
    assert_eq!(outcome.cause, StopCause::TimeLimit);
    assert!(
        (1..10).contains(&outcome.ids.len()),
        "{}",
        outcome.ids.len()
    );
    assert!(outcome.timings.prefill >= Duration::from_millis(400));
}

#[test]
fn a_fixed_prompt_limit_ends_the_prompt_in_the_middle_of_a_pass_and_says_so() {
    let engine = deep(ScriptedModel::new(97, 256, mix)).start(options(), None);
    let mut request = greedy(&[1; 5], 5);
    request.stop.prompt_limit = Some(PromptLimit::Fixed(Duration::from_millis(30)));
    let start = Instant::now();
    let outcome = engine.submit(request).unwrap().wait().unwrap();
    assert_eq!(
        (outcome.cause, outcome.ids.len()),
        (StopCause::PromptTimeLimit, 0)
    );
    assert!(start.elapsed() < HALF_A_PASS);
}

#[test]
fn a_measured_prompt_limit_lets_slow_prompts_end_and_stops_those_that_got_slower() {
    let pause = Arc::new(AtomicUsize::new(10)); // ms per token
    let ms = pause.clone();
    // 10 ms per layer of a chunk of 8 tokens, so that scheduling hardly changes the measured speed.
    let layers = 8;
    let by_row = move |rows: usize| {
        std::thread::sleep(Duration::from_millis((ms.load(SeqCst) * rows) as u64) / layers as u32);
    };
    let stall_time = Duration::from_millis(500);
    let mut model = ScriptedModel::new(97, 1024, mix).before(by_row);
    model.layers = layers;
    let engine = model.start(
        EngineOptions {
            stall_time: Some(stall_time),
            ..options()
        },
        None,
    );
    let measured = |prompt: &[u32]| {
        let mut request = greedy(prompt, 2);
        request.stop.prompt_limit = Some(PromptLimit::Measured);
        engine.submit(request).unwrap()
    };
    // There is no limit before the first measurement. The prompts take longer than the minimum limit
    // of 500 ms.
    let long: Vec<u32> = (0..60).collect();
    assert_eq!(measured(&long).wait().unwrap().ids, expected(&long, 2));
    // The limits of concurrent requests include the time that they wait for each other.
    let runs: Vec<_> = (0..4).map(|id| measured(&[id; 40])).collect();
    for run in runs {
        assert_eq!(run.wait().unwrap().cause, StopCause::MaxNewTokens);
    }
    pause.store(300, SeqCst);
    let outcome = measured(&[7; 60]).wait().unwrap();
    assert_eq!(
        (outcome.cause, outcome.ids.len()),
        (StopCause::PromptTimeLimit, 0)
    );
}

#[test]
fn an_interrupted_pass_does_not_count_as_written() {
    // An interrupted model leaves arbitrary values in the cache, which no request may reuse.
    let passes = Arc::new(AtomicUsize::new(0));
    let counter = passes.clone();
    let before = move |_| {
        counter.fetch_add(1, SeqCst);
        slow(0);
    };
    let mut model = ScriptedModel::new(97, 256, mix).before(before);
    model.layers = 20;
    let engine = model.start(options(), None);
    let prompt: Vec<u32> = (0..30).collect();
    let request = || greedy(&prompt, 3);
    let run = engine.submit(request()).unwrap();
    while passes.load(SeqCst) < 30 {
        std::thread::yield_now(); // the second chunk is half done
    }
    run.cancel();
    assert_eq!(run.wait().unwrap().cause, StopCause::Cancelled);
    let outcome = engine.submit(request()).unwrap().wait().unwrap();
    assert_eq!(
        outcome.usage.reused_tokens % 8,
        0,
        "whole chunks alone are kept"
    );
    assert!(outcome.usage.reused_tokens > 0);
    assert_eq!(outcome.ids, expected(&prompt, 3));
}

#[test]
fn cancelled_requests_do_not_change_other_sequences() {
    let engine = ScriptedModel::new(97, 1024, mix)
        .before(slow)
        .start(options(), None);
    let runs: Vec<_> = (1..5)
        .map(|id| engine.submit(greedy(&[id, id], 40)).unwrap())
        .collect();
    let [mut first, second, third, fourth] = <[_; 4]>::try_from(runs).unwrap();
    first
        .find(|event| matches!(event, Event::Text { .. }))
        .unwrap();
    second.cancel();
    drop(third);
    assert_eq!(second.wait().unwrap().cause, StopCause::Cancelled);
    assert_eq!(first.wait().unwrap().ids, expected(&[1, 1], 40));
    assert_eq!(fourth.wait().unwrap().ids, expected(&[4, 4], 40));
}

#[test]
fn cancelling_a_finished_run_changes_nothing() {
    let engine = ScriptedModel::new(97, 256, mix).start(options(), None);
    let mut run = engine.submit(greedy(&[1], 3)).unwrap();
    let cancel = run.cancel_handle();
    let last = run.by_ref().last().unwrap();
    cancel.cancel();
    assert!(matches!(last, Event::Finished(outcome) if outcome.cause == StopCause::MaxNewTokens));
    assert!(run.next().is_none(), "exactly one last event");
}
