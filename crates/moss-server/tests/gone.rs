//! Clients that go away: what was begun for them ends within a step, wherever it is.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io::Read,
    net::{Shutdown, TcpStream},
    time::Duration,
};

use moss_engine::EngineOptions;
use serde_json::{Value, json};
use support::{JSON, Running, Setup, endless, first_text, with};

const TEXT: &str = "/v1/completions";
/// The pass that runs, the one that begins while the news travels, and one for good measure: of
/// hundreds that were asked for.
const STEP: usize = 3;

fn slow(max_sequences: usize) -> Running {
    let mut setup = Setup {
        pause: Duration::from_millis(25),
        ..Setup::default()
    };
    setup.engine = EngineOptions {
        max_sequences,
        prefill_chunk: Some(8),
        ..setup.engine
    };
    setup.start()
}

fn asked(server: &Running, body: &Value) -> TcpStream {
    server.open("POST", TEXT, &[JSON], body.to_string().as_bytes())
}

fn until(condition: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn is_idle(server: &Running) -> bool {
    let now = server.engine.metrics();
    (now.running, now.waiting, now.cache_blocks_used) == (0, 0, 0)
}

#[test]
fn gone_in_the_middle_of_an_answer() {
    let server = slow(4);
    for stream in [false, true] {
        let client = asked(&server, &with(endless(4, 500), json!({"stream": stream})));
        let before = server.engine.metrics().generated_tokens;
        until(|| server.engine.metrics().generated_tokens > before + 3);
        drop(client);
        assert!(server.passes_until_rest() <= STEP, "stream: {stream}");
        assert!(is_idle(&server));
    }
    assert!(
        server
            .get("/metrics")
            .body
            .contains("moss_answers_total{reason=\"gone\"} 2")
    );
}

#[test]
fn gone_in_the_middle_of_a_prompt() {
    let server = slow(4);
    for stream in [false, true] {
        // 150 chunks of 8 tokens.
        let client = asked(&server, &with(endless(1200, 5), json!({"stream": stream})));
        let before = server.engine.metrics().prefilled_tokens;
        until(|| server.engine.metrics().prefilled_tokens > before + 16);
        drop(client);
        assert!(server.passes_until_rest() <= STEP, "stream: {stream}");
        assert!(is_idle(&server));
    }
}

#[test]
fn gone_while_waiting() {
    let server = slow(1);
    for stream in [false, true] {
        let mut running = server.lines(TEXT, &with(endless(4, 40), json!({"stream": true})));
        first_text(&mut running);
        let client = asked(&server, &with(endless(4, 500), json!({"stream": stream})));
        until(|| server.engine.metrics().waiting == 1);
        drop(client);
        until(|| server.engine.metrics().waiting == 0);
        assert_eq!(server.engine.metrics().running, 1, "the other one goes on");
        let mut rest = String::new();
        running.read_to_string(&mut rest).unwrap();
        assert!(rest.trim_end().ends_with("[DONE]"), "and to its end");
    }
}

#[test]
fn all_answers_of_a_request_end_with_its_client() {
    let server = slow(2);
    let client = asked(&server, &with(endless(4, 500), json!({"n": 4})));
    until(|| server.engine.metrics().running == 2);
    drop(client);
    assert!(server.passes_until_rest() <= STEP);
    assert!(is_idle(&server));
}

#[test]
fn a_full_queue_takes_back_the_answers_of_a_request_that_did_not_fit() {
    let mut setup = Setup {
        pause: Duration::from_millis(25),
        ..Setup::default()
    };
    setup.engine = EngineOptions {
        max_sequences: 1,
        queue_limit: 2,
        ..setup.engine
    };
    let server = setup.start();
    let reply = server.post(TEXT, &with(endless(4, 500), json!({"n": 8})));
    assert_eq!(reply.error().0, 429);
    assert!(server.passes_until_rest() <= STEP);
    assert!(is_idle(&server));
}

#[test]
fn a_client_that_only_stops_sending_is_still_there() {
    let server = slow(4);
    let mut client = asked(&server, &endless(4, 40));
    until(|| server.engine.metrics().generated_tokens > 3);
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.contains("\"completion_tokens\":40"),
        "{answer}"
    );
}
