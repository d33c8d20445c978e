//! The overhead of the server over the engine alone.
//!
//! `cargo test --release -p moss-server overhead -- --ignored --nocapture --test-threads 1`

use std::{io::BufRead, time::Instant};

use moss_engine::{EngineOptions, Request};
use moss_sampling::SamplingParams;
use moss_testing::http::with;
use serde_json::json;

use crate::{
    soak::{ids, question},
    support::{Setup, TEXT},
};

/// Tokens a second of 32 streams of 400 tokens each, with the engine alone and through the server.
#[test]
#[ignore = "a measurement"]
fn overhead_over_the_bare_engine_at_32_streams() {
    const COUNT: usize = 32;
    const TOKENS: usize = 400;
    const ROUNDS: usize = 9;
    let engine = EngineOptions {
        max_sequences: COUNT,
        threads: Some(1),
        ..EngineOptions::default()
    };
    let server = Setup {
        engine,
        contexts: 12,
        ..Setup::default()
    }
    .start();
    let banned = || SamplingParams {
        logit_bias: vec![(2740, -100.0)],
        ..SamplingParams::greedy()
    };
    let bare = || {
        let began = Instant::now();
        let runs = (0..COUNT).map(|number| {
            let mut request = Request::new(ids(number), banned());
            request.stop.max_new_tokens = Some(TOKENS);
            server.engine.submit(request).unwrap()
        });
        let runs: Vec<_> = runs.collect();
        let tokens: usize = runs
            .into_iter()
            .map(|run| run.wait().unwrap().ids.len())
            .sum();
        tokens as f64 / began.elapsed().as_secs_f64()
    };
    let served = || {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for number in 0..COUNT {
                let server = &server;
                scope.spawn(move || {
                    let asked = with(
                        question(number),
                        json!({"stream": true, "max_tokens": TOKENS}),
                    );
                    let lines = server.lines(TEXT, &asked);
                    assert!(lines.lines().any(|line| line.unwrap() == "data: [DONE]"));
                });
            }
        });
        (COUNT * TOKENS) as f64 / began.elapsed().as_secs_f64()
    };
    // Other load on the machine affects both runs of a pair, which alternate in order.
    let mut rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|round| match round % 2 {
            0 => (bare(), served()),
            _ => {
                let served = served();
                (bare(), served)
            }
        })
        .collect();
    rounds.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let cost = |(bare, served): (f64, f64)| (1.0 - served / bare) * 100.0;
    eprintln!(
        "{ROUNDS} pairs (engine, through the server) in tok/s: {rounds:.0?}; the server costs {:.1} % in the median pair, {:.1} to {:.1}",
        cost(rounds[ROUNDS / 2]),
        cost(rounds[ROUNDS - 1]),
        cost(rounds[0]),
    );
}
