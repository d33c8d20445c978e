//! Ten minutes of 64 streams, with clients that disconnect and malformed requests; and the overhead
//! of the server over the engine alone.
//!
//! `cargo test --release -p moss-server soak -- --ignored --nocapture --test-threads 1`

use std::{
    io::{BufRead, Read},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use moss_engine::{EngineOptions, Request};
use moss_sampling::SamplingParams;
use moss_testing::http::{JSON, with};
use serde_json::{Value, json};

use crate::support::{Running, Setup, TEXT};

const STREAMS: usize = 64;

/// Ten minutes, or the seconds in the variable SOAK_SECONDS.
fn duration() -> Duration {
    let seconds = std::env::var("SOAK_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(600))
}

fn ids(number: usize) -> Vec<u32> {
    (0..5 + number * 7 % 90)
        .map(|index| (300 + (index * (number + 3)) % 2000) as u32)
        .collect()
}

fn question(number: usize) -> Value {
    json!({"prompt": ids(number), "max_tokens": 16 + number % 48, "temperature": 0, "logit_bias": {"2740": -100}})
}

/// Returns the resident memory of this process in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[derive(Default)]
struct Counts {
    answers: AtomicUsize,
    wrong: AtomicUsize,
    abandoned: AtomicUsize,
    refused: AtomicUsize,
    busy: AtomicUsize,
    faults: AtomicUsize,
    tokens: AtomicUsize,
}

#[test]
#[ignore = "ten minutes"]
fn ten_minutes_of_streams_lose_nothing_and_leave_nothing_behind() {
    let engine = EngineOptions {
        max_sequences: 48,
        queue_limit: 64,
        threads: Some(1),
        ..EngineOptions::default()
    };
    let server = Setup {
        engine,
        contexts: 6,
        ..Setup::default()
    }
    .start();
    let alone: Vec<String> = (0..200)
        .map(|number| {
            server.post(TEXT, &question(number)).json()["choices"][0]["text"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let (counts, until) = (Counts::default(), Instant::now() + duration());
    let mut memory = Vec::new();
    std::thread::scope(|scope| {
        for worker in 0..STREAMS {
            let (server, alone, counts) = (&server, &alone, &counts);
            scope.spawn(move || {
                let mut turn = worker;
                while Instant::now() < until {
                    turn = turn.wrapping_mul(1_103_515_245).wrapping_add(12_345) % (1 << 31);
                    one(server, alone, counts, turn);
                }
            });
        }
        while Instant::now() < until {
            memory.push(resident());
            std::thread::sleep(duration() / 20);
        }
    });
    server.passes_until_idle();
    let (now, mib) = (server.engine.metrics(), |bytes: usize| bytes >> 20);
    let memory: Vec<_> = memory.into_iter().map(mib).collect();
    let get = |count: &AtomicUsize| count.load(Relaxed);
    eprintln!(
        "{:?}: {} answers ({} tokens), {} wrong, {} abandoned, {} malformed refused, {} times 429 or 503, {} other faults; \
         resident MiB {memory:?}",
        duration(),
        get(&counts.answers),
        get(&counts.tokens),
        get(&counts.wrong),
        get(&counts.abandoned),
        get(&counts.refused),
        get(&counts.busy),
        get(&counts.faults),
    );
    assert_eq!((get(&counts.wrong), get(&counts.faults)), (0, 0));
    assert_eq!((now.running, now.waiting, now.cache_blocks_used), (0, 0, 0));
    // In the first fifth of the time, pools and arenas grow.
    let (early, last) = (memory[memory.len() / 5], memory[memory.len() - 1]);
    assert!(last <= early + 16, "memory grew from {early} to {last} MiB");
}

/// One request, of a client that sometimes disconnects or sends nonsense.
fn one(server: &Running, alone: &[String], counts: &Counts, turn: usize) {
    let add = |count: &AtomicUsize, n| {
        count.fetch_add(n, Relaxed);
    };
    let number = (turn >> 8) % alone.len();
    let stream = !turn.is_multiple_of(3);
    let asked = with(question(number), json!({"stream": stream}));
    match (turn >> 16) % 10 {
        0 => {
            let mut connection = server.open("POST", TEXT, &[JSON], asked.to_string().as_bytes());
            let _ = connection.read(&mut [0; 300]);
            add(&counts.abandoned, 1);
        }
        1 => {
            let body = asked.to_string();
            let cut = &body.as_bytes()[..turn % body.len()];
            match server.send("POST", TEXT, &[JSON], cut).status {
                400 => add(&counts.refused, 1),
                _ => add(&counts.faults, 1),
            }
        }
        _ => {
            let reply = server.send("POST", TEXT, &[JSON], asked.to_string().as_bytes());
            let text = match reply.status {
                200 if stream => {
                    let events = reply.events();
                    add(&counts.tokens, events.len() - 1);
                    events
                        .iter()
                        .map(|event| event["choices"][0]["text"].as_str().unwrap())
                        .collect()
                }
                200 => reply.json()["choices"][0]["text"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
                429 | 503 => {
                    std::thread::sleep(Duration::from_millis(50));
                    return add(&counts.busy, 1);
                }
                _ => return add(&counts.faults, 1),
            };
            add(&counts.answers, 1);
            add(&counts.wrong, usize::from(text != alone[number]));
        }
    }
}

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
