//! Owners take turns, and have at most `max_per_owner` running requests.

use std::sync::{Arc, Mutex};

use moss_engine::{CancelHandle, Engine, EngineOptions, Event, Request};
use moss_testing::model::ScriptedModel;

use crate::support::{Pace, StartEngine, greedy, mix, options};

/// The names of requests, in the order in which they started (`+`) and ended (`-`).
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Submits a request of the owner that the first letter of `name` stands for.
    fn submit(&self, engine: &Engine, name: &'static str) {
        let log = self.clone();
        let sink = move |event| {
            let mark = match event {
                Event::Started { .. } => '+',
                Event::Finished(_) => '-',
                _ => return true,
            };
            log.0.lock().unwrap().push(format!("{mark}{name}"));
            true
        };
        let request = Request {
            owner: Arc::from(&name[..1]),
            ..greedy(&[1, 2, 3], 4)
        };
        engine
            .submit_to(request, CancelHandle::default(), Box::new(sink))
            .unwrap();
    }

    /// Waits for the end of `count` requests, and returns the entries with this mark.
    fn wait(&self, count: usize, mark: char) -> Vec<String> {
        let with = |mark: char| -> Vec<String> {
            let entries = self.0.lock().unwrap();
            let marked = entries.iter().filter(|entry| entry.starts_with(mark));
            marked.map(|entry| entry[1..].to_owned()).collect()
        };
        while with('-').len() < count {
            std::thread::yield_now();
        }
        with(mark)
    }
}

/// Starts an engine, whose first request runs until the others are submitted.
fn run(options: EngineOptions, names: &[&'static str]) -> (Log, Arc<Engine>) {
    let pace = Pace::ms(100);
    let engine = ScriptedModel::new(97, 512, mix)
        .before(pace.wait())
        .start(options, None);
    let log = Log::default();
    for name in names {
        log.submit(&engine, name);
        while log.0.lock().unwrap().is_empty() {
            std::thread::yield_now(); // until the first one has started
        }
    }
    pace.set_ms(0);
    (log, engine)
}

#[test]
fn an_owner_with_many_requests_does_not_delay_those_of_others() {
    let one = EngineOptions {
        max_sequences: 1,
        ..options()
    };
    let names = ["a0", "a1", "a2", "a3", "b0", "c0", "b1"];
    let (log, _engine) = run(one, &names);
    let expected = ["a0", "a1", "b0", "c0", "a2", "b1", "a3"];
    assert_eq!(log.wait(names.len(), '-'), expected);
}

#[test]
fn an_owner_runs_no_more_than_its_maximum() {
    let limited = EngineOptions {
        max_per_owner: Some(1),
        ..options()
    };
    let names = ["a0", "a1", "a2", "b0", "b1"];
    let (log, _engine) = run(limited, &names);
    log.wait(names.len(), '-');
    let entries = log.0.lock().unwrap().clone();
    for owner in ["a", "b"] {
        let own: Vec<_> = entries
            .iter()
            .filter(|entry| &entry[1..2] == owner)
            .collect();
        for pair in own.chunks(2) {
            let [start, end] = pair else {
                panic!("{entries:?}")
            };
            assert!(
                start[1..] == end[1..] && start.starts_with('+'),
                "{entries:?}"
            );
        }
    }
}
