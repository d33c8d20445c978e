//! Admission by need, and preemption: more sequences than the KV cache holds until their ends.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use moss_engine::{Engine, EngineOptions, Event, Outcome, Request, Run, StopCause};
use moss_model::TokenKind::{Generated, Prompt};
use moss_sampling::SamplingParams;
use moss_testing::model::{ScriptedModel, SeenChunk};

use crate::support::{Pace, StartEngine, expected, greedy, mix, options, slow};

/// Reads all events, checks their order, and returns the outcome.
fn read(run: Run) -> Outcome {
    let (mut started, mut prefilled, mut ids) = (0, 0, Vec::new());
    for event in run {
        match event {
            Event::Started { reused_tokens, .. } => {
                started += 1;
                prefilled = reused_tokens;
                assert!(ids.is_empty());
            }
            Event::Prefill { done, total } => {
                assert!(done > prefilled && done <= total && ids.is_empty());
                prefilled = done;
            }
            Event::Text { id, .. } => ids.extend(id),
            Event::Finished(outcome) => {
                assert_eq!((started, &ids), (1, &outcome.ids));
                return outcome;
            }
            event => panic!("{event:?}"),
        }
    }
    panic!("no last event");
}

/// Submits prompts of 20 tokens whose replies have 100: each needs 8 blocks.
fn submit_long(engine: &Engine, count: u32, sampling: &SamplingParams) -> Vec<Run> {
    let submit = |first: u32| {
        let mut request = Request::new(vec![first; 20], sampling.clone());
        request.stop.max_new_tokens = Some(100);
        engine.submit(request).unwrap()
    };
    (0..count).map(submit).collect()
}

fn start(model: ScriptedModel) -> Arc<Engine> {
    let options = EngineOptions {
        max_sequences: 6,
        ..options()
    };
    model
        .before(|_| std::thread::sleep(Duration::from_micros(200)))
        .start(options, None)
}

#[test]
fn preempted_requests_lose_nothing_and_repeat_nothing() {
    // 14 blocks are enough for one request, and for the prompts of several.
    let engine = start(ScriptedModel::new(97, 14 * 16, mix));
    let runs = submit_long(&engine, 12, &SamplingParams::greedy());
    for (run, first) in runs.into_iter().zip(0..) {
        let outcome = read(run);
        assert_eq!(outcome.ids, expected(&[first; 20], 100));
        let usage = outcome.usage;
        assert_eq!(usage.reused_tokens + usage.prefilled_tokens, 20);
        assert_eq!(outcome.cause, StopCause::MaxNewTokens);
    }
    let metrics = engine.metrics();
    assert!(metrics.preemptions > 0, "{metrics:?}");
    assert_eq!(metrics.generated_tokens, 1200);
    assert_eq!((metrics.waiting, metrics.cache_blocks_used), (0, 0));
}

#[test]
fn a_preempted_request_draws_the_tokens_that_it_would_draw_alone() {
    let flat = SamplingParams {
        temperature: 50.0,
        top_k: None,
        top_p: 1.0,
        seed: Some(7),
        ..SamplingParams::CHAT
    };
    let replies = |blocks: usize| {
        let engine = start(ScriptedModel::new(97, blocks * 16, mix));
        let runs = submit_long(&engine, 8, &flat);
        let ids: Vec<_> = runs.into_iter().map(|run| read(run).ids).collect();
        (ids, engine.metrics().preemptions)
    };
    let ((alone, none), (shared, some)) = (replies(100), replies(12));
    assert_eq!(alone, shared);
    assert!(none == 0 && some > 0, "{none} {some}");
}

#[test]
fn what_was_evicted_is_computed_again_as_what_it_was() {
    let model = ScriptedModel::new(97, 12 * 16, |history| 50 + mix(history) % 47);
    let seen: Arc<Mutex<Vec<Vec<SeenChunk>>>> = model.seen.clone();
    let engine = start(model);
    for run in submit_long(&engine, 8, &SamplingParams::greedy()) {
        read(run);
    }
    assert!(engine.metrics().preemptions > 0);
    let seen = seen.lock().unwrap();
    let mut recomputed = 0;
    for chunk in seen.iter().flatten() {
        match chunk.kind {
            Prompt => assert!(chunk.token_ids.iter().all(|id| *id < 50)),
            Generated => {
                assert!(chunk.token_ids.iter().all(|id| *id >= 50));
                assert!(
                    chunk.token_ids.len() <= 6,
                    "more than the rows of a decode step"
                );
                recomputed += chunk.token_ids.len() - 1;
            }
        }
    }
    assert!(recomputed > 0);
}

#[test]
fn a_preempted_request_can_be_cancelled_while_it_waits() {
    // Six blocks: two requests of two blocks are admitted, and the first one needs five.
    let engine = ScriptedModel::new(97, 6 * 16, mix)
        .before(Pace::ms(10).wait())
        .start(options(), None);
    let runs = [1, 2].map(|first| engine.submit(greedy(&[first; 20], 60)).unwrap());
    while engine.metrics().preemptions == 0 {
        std::thread::yield_now();
    }
    let [first, second] = runs;
    second.cancel();
    let outcome = read(second);
    assert_eq!(outcome.cause, StopCause::Cancelled);
    assert!(!outcome.ids.is_empty());
    assert_eq!(outcome.ids, expected(&[2; 20], outcome.ids.len()));
    assert_eq!(
        engine.metrics().running,
        1,
        "the first one is still running"
    );
    assert_eq!(read(first).ids, expected(&[1; 20], 60));
}

#[test]
fn an_engine_ends_with_preempted_requests_waiting() {
    let engine = ScriptedModel::new(97, 6 * 16, mix)
        .before(Pace::ms(5).wait())
        .start(options(), None);
    let runs = [1, 2].map(|first| engine.submit(greedy(&[first; 20], 60)).unwrap());
    while engine.metrics().preemptions == 0 {
        std::thread::yield_now();
    }
    drop(engine);
    for run in runs {
        let outcome = read(run);
        assert_eq!(outcome.cause, StopCause::Cancelled);
        assert!(outcome.ids.len() > 5);
    }
}

#[test]
fn requests_without_a_limit_run_together_if_what_they_need_now_fits() {
    const COUNT: u32 = 64;
    const PROMPT: usize = 343;
    // Each reply has 100 tokens, and ends with 96.
    let mut model = ScriptedModel::new(97, 620 * 16, |history| {
        if history.len() == PROMPT + 99 {
            96
        } else {
            mix(history) % 96
        }
    });
    model.config.context_length = 2048; // in the worst case, each request needs 128 blocks
    let seen = model.seen.clone();
    let many = EngineOptions {
        max_sequences: COUNT as usize,
        prefill_chunk: Some(256),
        ..options()
    };
    let engine = model.before(slow).start(many, None);
    let common: Vec<u32> = (0..330).map(|index| index % 90).collect();
    let submit = |index: u32| {
        let prompt = [&common[..], &[index; 13]].concat();
        let mut request = Request::new(prompt, SamplingParams::greedy());
        request.stop.stop_ids = vec![96];
        engine.submit(request).unwrap()
    };
    let runs: Vec<_> = (0..COUNT).map(submit).collect();
    for run in runs {
        let outcome = read(run);
        assert_eq!(
            (outcome.ids.len(), outcome.cause),
            (100, StopCause::EndOfTurn)
        );
    }
    let most = seen.lock().unwrap().iter().map(Vec::len).max();
    assert_eq!(
        most,
        Some(COUNT as usize),
        "all of them in one forward batch"
    );
    let metrics = engine.metrics();
    // The full blocks of the common prefix are computed once.
    assert_eq!(
        metrics.prefilled_tokens,
        PROMPT as u64 + 63 * (PROMPT as u64 - 320)
    );
    assert_eq!((metrics.preemptions, metrics.reused_tokens), (0, 63 * 320));
}
