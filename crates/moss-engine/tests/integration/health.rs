//! Faults that end an engine for good: every open request ends with a typed error, which the engine
//! also reports.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use moss_engine::{Engine, EngineError, EngineOptions};
use moss_testing::model::{Fault, ScriptedModel};

use crate::support::{self, Pace, StartEngine, greedy, mix, options, slow};

/// Returns the errors of two running and two waiting requests.
fn ends_of_all(engine: &Engine) -> Vec<EngineError> {
    let runs: Vec<_> = (1..5)
        .map(|id| engine.submit(greedy(&[id], 200)).unwrap())
        .collect();
    runs.into_iter()
        .map(|run| run.wait().unwrap_err())
        .collect()
}

fn failing(fault: Fault, stall_time: Duration) -> Arc<Engine> {
    let model = ScriptedModel::new(97, 1024, mix).before(slow);
    model.faults.after(8, fault);
    model.start(
        EngineOptions {
            max_sequences: 2,
            stall_time: Some(stall_time),
            ..options()
        },
        None,
    )
}

#[track_caller]
fn is_over(engine: &Engine, is_right: impl Fn(&EngineError) -> bool) {
    assert!(
        engine
            .fault()
            .is_some_and(|fault| is_right(&fault) && fault.is_fatal())
    );
    let reported = Arc::new(Mutex::new(None));
    let heard = reported.clone();
    engine.on_fault(Box::new(move |fault| *heard.lock().unwrap() = Some(fault)));
    assert!(reported.lock().unwrap().as_ref().is_some_and(&is_right));
    // Later requests end at once, also where the engine's thread is stuck.
    assert!(is_right(
        &engine.submit(greedy(&[1], 5)).unwrap().wait().unwrap_err()
    ));
}

#[test]
fn a_lost_device_ends_all_requests_with_a_typed_error() {
    for fault in [Fault::DeviceLost, Fault::StageLost] {
        let engine = failing(fault, EngineOptions::GPU_STALL_TIME);
        let is_right = |error: &EngineError| matches!(error, EngineError::DeviceLost { .. });
        let ends = ends_of_all(&engine);
        assert!(ends.len() == 4 && ends.iter().all(is_right), "{ends:?}");
        is_over(&engine, is_right);
    }
}

#[test]
fn an_error_of_one_step_does_not_end_the_engine() {
    let engine = failing(Fault::Error, EngineOptions::GPU_STALL_TIME);
    let runs: Vec<_> = (1..5)
        .map(|id| engine.submit(greedy(&[id], 30)).unwrap())
        .collect();
    let failed = runs
        .into_iter()
        .filter_map(|run| run.wait().err())
        .collect::<Vec<_>>();
    assert!(
        !failed.is_empty() && failed.iter().all(|error| !error.is_fatal()),
        "{failed:?}"
    );
    assert!(engine.fault().is_none());
}

#[test]
fn a_panic_of_the_model_ends_requests_that_run_and_that_wait() {
    let passes = std::sync::atomic::AtomicUsize::new(0);
    let model = ScriptedModel::new(97, 1024, mix).before(move |_| {
        slow(0);
        assert!(
            passes.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 8,
            "boom"
        );
    });
    let engine = model.start(
        EngineOptions {
            max_sequences: 2,
            ..options()
        },
        None,
    );
    let is_right = |error: &EngineError| matches!(error, EngineError::Panicked { message } if message.contains("boom"));
    let ends = ends_of_all(&engine);
    assert!(ends.iter().all(is_right), "{ends:?}");
    is_over(&engine, is_right);
}

#[test]
fn a_step_that_never_ends_is_noticed_and_dropping_the_engine_does_not_hang() {
    let engine = failing(Fault::Hangs, Duration::from_millis(200));
    let is_right = |error: &EngineError| matches!(error, EngineError::Stalled { .. });
    let began = Instant::now();
    let ends = ends_of_all(&engine);
    assert!(ends.len() == 4 && ends.iter().all(is_right), "{ends:?}");
    is_over(&engine, is_right);
    drop(engine);
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_long_prompt_chunk_on_a_slow_device_is_not_a_stall() {
    // 40 ms per token, without progress within a pass: a chunk takes 2.6 s, and the minimum limit
    // is 1 s.
    let mut model = ScriptedModel::new(97, 1024, mix)
        .before(|rows| std::thread::sleep(Duration::from_millis(40) * rows as u32));
    model.layers = 1;
    let stall_time = Duration::from_secs(1);
    let engine = model.start(
        EngineOptions {
            prefill_chunk: Some(64),
            stall_time: Some(stall_time),
            ..options()
        },
        None,
    );
    engine.submit(greedy(&[1, 2], 1)).unwrap().wait().unwrap(); // measures it
    let long: Vec<u32> = (0..90).collect();
    assert_eq!(
        engine.submit(greedy(&long, 2)).unwrap().wait().unwrap().ids,
        support::expected(&long, 2)
    );
    assert!(engine.fault().is_none());
}

#[test]
fn layers_count_as_progress_before_anything_is_measured() {
    // The first pass takes 2 s, in layers of 20 ms.
    let mut model = ScriptedModel::new(97, 256, mix).before(Pace::ms(20).wait());
    model.layers = 100;
    let engine = model.start(
        EngineOptions {
            stall_time: Some(Duration::from_secs(1)),
            ..options()
        },
        None,
    );
    engine
        .submit(greedy(&[1, 2, 3], 1))
        .unwrap()
        .wait()
        .unwrap();
    assert!(engine.fault().is_none());
}

#[test]
fn the_backlog_is_the_prompt_tokens_that_have_yet_to_be_processed() {
    let engine = ScriptedModel::new(97, 1024, mix)
        .before(Pace::ms(20).wait())
        .start(
            EngineOptions {
                max_sequences: 1,
                ..options()
            },
            None,
        );
    assert_eq!((engine.prompt_backlog(), engine.predict(10, 0)), (0, None));
    let runs: Vec<_> = (0..3)
        .map(|id| engine.submit(greedy(&[id; 50], 20)).unwrap())
        .collect();
    let backlog = engine.prompt_backlog();
    assert!((100..=150).contains(&backlog), "{backlog}");
    for run in runs {
        run.wait().unwrap();
    }
    assert_eq!(engine.prompt_backlog(), 0);
    assert!(engine.predict(50, 20).unwrap() > Duration::from_millis(20));
}
