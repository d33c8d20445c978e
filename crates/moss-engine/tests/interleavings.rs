//! Explores interleavings of the threads of an engine: submitting, cancelling, dropping, stalling and
//! failing, with the feature `shuttle`.
//!
//! Each test runs a scenario thousands of times with another random schedule. A deadlock, a panic or
//! a wrong result prints a schedule that `shuttle::replay` repeats.
#![allow(clippy::unwrap_used)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use moss_engine::{
    CancelHandle, Engine, EngineError, EngineOptions, Event, Request, StopCause, StopRules,
};
use moss_sampling::SamplingParams;
use moss_testing::model::{Fault, ScriptedModel};
use shuttle::thread;

/// Schedules of a test.
const SCHEDULES: usize = 1500;

/// Runs a scenario with random schedules, and with few preemptions at random points, which finds
/// bugs that need a long time without a switch.
fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    let scenario = Arc::new(scenario);
    let again = scenario.clone();
    shuttle::check_random(move || scenario(), SCHEDULES);
    shuttle::check_pct(move || again(), SCHEDULES, 3);
}

fn model() -> ScriptedModel {
    ScriptedModel::new(97, 128, |history| history.len() as u32 % 97)
}

fn engine(model: ScriptedModel) -> Engine {
    let options = EngineOptions {
        max_sequences: 2,
        // The watchdog's limit: it would end a run of the engine at random times.
        stall_time: Some(Duration::from_secs(3600)),
        ..EngineOptions::default()
    };
    Engine::start(Box::new(model), None, options).unwrap()
}

fn request(first: u32, max_new_tokens: usize) -> Request {
    let stop = StopRules {
        max_new_tokens: Some(max_new_tokens),
        ..StopRules::default()
    };
    Request {
        stop,
        ..Request::new(vec![first, 1, 2], SamplingParams::greedy())
    }
}

/// The last events of a request, and the number of times that its sink was dropped.
#[derive(Clone, Default)]
struct Ends {
    last: Arc<Mutex<Vec<String>>>,
    dropped: Arc<AtomicUsize>,
}

impl Ends {
    fn submit(&self, engine: &Engine, request: Request, cancel: CancelHandle) -> bool {
        let (ends, guard) = (self.clone(), OnDrop(self.dropped.clone()));
        let sink = Box::new(move |event| {
            let _ = &guard;
            match event {
                Event::Finished(outcome) => ends
                    .last
                    .lock()
                    .unwrap()
                    .push(format!("{:?}", outcome.cause)),
                Event::Failed(error) => ends.last.lock().unwrap().push(error.to_string()),
                _ => {}
            }
            true
        });
        engine.submit_to(request, cancel, sink).is_ok()
    }

    /// Returns the last event, after the engine was dropped. An engine that has stalled does not wait
    /// for its worker.
    fn last(&self) -> Option<String> {
        while self.dropped.load(SeqCst) == 0 {
            thread::yield_now();
        }
        let last = self.last.lock().unwrap();
        assert!(last.len() <= 1, "two last events: {last:?}");
        assert_eq!(self.dropped.load(SeqCst), 1, "the sink is dropped once");
        last.first().cloned()
    }
}

struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn requests_of_several_threads_all_finish() {
    explore(|| {
        let engine = Arc::new(engine(model()));
        let submit = |first: u32| {
            let engine = engine.clone();
            thread::spawn(move || {
                let outcome = engine.submit(request(first, 3)).unwrap().wait().unwrap();
                assert_eq!(outcome.ids, [3, 4, 5]);
            })
        };
        let threads = [1, 2, 3].map(submit);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(engine.metrics().waiting, 0);
    });
}

#[test]
fn a_request_that_is_cancelled_at_any_time_ends_once() {
    explore(|| {
        let engine = Arc::new(engine(model()));
        let run = engine.submit(request(1, 4)).unwrap();
        let cancel = run.cancel_handle();
        let canceller = thread::spawn(move || cancel.cancel());
        let other = engine.submit(request(2, 2)).unwrap();
        let outcome = run.wait().unwrap();
        match outcome.cause {
            StopCause::Cancelled => assert!(outcome.ids.len() <= 4),
            cause => assert_eq!((cause, outcome.ids.len()), (StopCause::MaxNewTokens, 4)),
        }
        assert_eq!(other.wait().unwrap().ids, [3, 4]);
        canceller.join().unwrap();
    });
}

#[test]
fn dropped_runs_leave_an_engine_that_serves_others() {
    explore(|| {
        let engine = Arc::new(engine(model()));
        let dropped = engine.clone();
        let dropper = thread::spawn(move || {
            let mut run = dropped.submit(request(1, 50)).unwrap();
            let _ = run.next();
        });
        let outcome = engine.submit(request(2, 2)).unwrap().wait().unwrap();
        assert_eq!(outcome.ids, [3, 4]);
        dropper.join().unwrap();
    });
}

#[test]
fn every_sink_is_dropped_if_the_engine_is_dropped_at_any_time() {
    explore(|| {
        let engine = Arc::new(engine(model()));
        let ends = [Ends::default(), Ends::default()];
        let submitted = ends.clone();
        let other = engine.clone();
        let submitter = thread::spawn(move || {
            for (first, ends) in submitted.iter().enumerate() {
                ends.submit(&other, request(first as u32, 3), CancelHandle::default());
            }
        });
        drop(engine); // the last of the two handles waits for the worker
        submitter.join().unwrap();
        ends.iter().for_each(|ends| drop(ends.last()));
    });
}

#[test]
fn a_lost_device_fails_every_request_once_and_tells_the_listener() {
    explore(|| {
        let model = model();
        model.faults.after(1, Fault::DeviceLost);
        let engine = Arc::new(engine(model));
        let faults = Arc::new(AtomicUsize::new(0));
        let (ends, other) = (Ends::default(), engine.clone());
        let (count, listened) = (faults.clone(), engine.clone());
        let listener = thread::spawn(move || {
            listened.on_fault(Box::new(move |_| drop(count.fetch_add(1, SeqCst))));
        });
        let submitted = ends.clone();
        let submitter = thread::spawn(move || {
            assert!(submitted.submit(&other, request(1, 5), CancelHandle::default()));
        });
        let failed = engine.submit(request(2, 5)).unwrap().wait();
        assert!(
            matches!(failed, Err(EngineError::DeviceLost { .. })),
            "{failed:?}"
        );
        submitter.join().unwrap();
        listener.join().unwrap();
        // After the fault, requests fail immediately.
        let late = engine.submit(request(3, 1)).unwrap().wait();
        assert!(
            matches!(late, Err(EngineError::DeviceLost { .. })),
            "{late:?}"
        );
        drop(engine);
        assert!(ends.last().is_some());
        assert_eq!(faults.load(SeqCst), 1);
    });
}

#[test]
fn a_stall_that_is_reported_at_any_time_ends_every_request_once() {
    explore(|| {
        // A limit of zero: the watchdog reports a stall at its first check.
        let options = EngineOptions {
            stall_time: Some(Duration::ZERO),
            ..EngineOptions::default()
        };
        let engine = Engine::start(Box::new(model()), None, options).unwrap();
        let ends = [Ends::default(), Ends::default()];
        for (first, ends) in ends.iter().enumerate() {
            assert!(ends.submit(&engine, request(first as u32, 3), CancelHandle::default()));
        }
        drop(engine);
        for ends in ends {
            let last = ends.last();
            let is_one = |last: &String| {
                last.contains("MaxNewTokens")
                    || last.contains("no progress")
                    || last.contains("Cancelled")
            };
            assert!(last.as_ref().is_some_and(is_one), "{last:?}");
        }
    });
}

#[test]
fn a_full_queue_rejects_and_loses_no_place() {
    explore(|| {
        let options = EngineOptions {
            queue_limit: 1,
            max_sequences: 1,
            stall_time: Some(Duration::from_secs(3600)),
            ..EngineOptions::default()
        };
        let engine = Arc::new(Engine::start(Box::new(model()), None, options).unwrap());
        let submit = |first: u32| {
            let engine = engine.clone();
            thread::spawn(move || match engine.submit(request(first, 1)) {
                Ok(run) => assert_eq!(run.wait().unwrap().ids, [3]),
                Err(error) => assert!(matches!(error, EngineError::QueueFull { limit: 1 })),
            })
        };
        let threads = [1, 2].map(submit);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        // Every place is free again.
        let outcome = engine.submit(request(3, 1)).unwrap().wait().unwrap();
        assert_eq!(outcome.ids, [3]);
        assert_eq!(engine.metrics().waiting, 0);
    });
}
