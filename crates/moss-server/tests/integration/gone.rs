//! Clients that disconnect: their requests end soon, in the queue, in the prompt and in the answer.

use std::{io::Read, net::Shutdown, time::Duration};

use moss_engine::EngineOptions;
use moss_testing::{
    http::{first_text, with},
    wait_until,
};
use serde_json::json;

use crate::support::{Running, Setup, TEXT, endless};

/// Forward passes that may follow until the server has seen that a client closed its connection:
/// 1.5 seconds, of more than 12 that the request would take.
const FEW: usize = 60;

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

#[test]
fn gone_in_the_middle_of_an_answer() {
    let server = slow(4);
    for stream in [false, true] {
        let client = server.open_post(TEXT, &with(endless(4, 500), json!({"stream": stream})));
        let before = server.engine.metrics().generated_tokens;
        wait_until("generated_tokens", || {
            server.engine.metrics().generated_tokens > before + 3
        });
        drop(client);
        assert!(server.passes_until_idle() <= FEW, "stream: {stream}");
    }
    wait_until("the metric", || {
        let metrics = server.get("/metrics").body;
        metrics.contains("moss_answers_total{reason=\"gone\"} 2")
    });
    let (metrics, now) = (server.get("/metrics").body, server.engine.metrics());
    for (name, count) in [
        ("generated", now.generated_tokens),
        ("cached", now.reused_tokens),
        ("prompt", now.reused_tokens + now.prefilled_tokens),
    ] {
        let line = format!("\nmoss_{name}_tokens_total {count}\n");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
}

#[test]
fn gone_in_the_middle_of_a_prompt() {
    let server = slow(4);
    for stream in [false, true] {
        // 150 chunks of 8 tokens.
        let client = server.open_post(TEXT, &with(endless(1200, 5), json!({"stream": stream})));
        let before = server.engine.metrics().prefilled_tokens;
        wait_until("prefilled_tokens", || {
            server.engine.metrics().prefilled_tokens > before + 16
        });
        drop(client);
        assert!(server.passes_until_idle() <= FEW, "stream: {stream}");
    }
}

#[test]
fn gone_while_waiting() {
    let server = slow(1);
    for stream in [false, true] {
        let mut running = server.lines(TEXT, &with(endless(4, 80), json!({"stream": true})));
        first_text(&mut running);
        let client = server.open_post(TEXT, &with(endless(4, 500), json!({"stream": stream})));
        wait_until("waiting", || server.engine.metrics().waiting == 1);
        drop(client);
        wait_until("waiting", || server.engine.metrics().waiting == 0);
        assert_eq!(
            server.engine.metrics().running,
            1,
            "the other request is still running"
        );
        let mut rest = String::new();
        running.read_to_string(&mut rest).unwrap();
        assert!(rest.trim_end().ends_with("[DONE]"));
    }
}

#[test]
fn all_answers_of_a_request_end_with_its_client() {
    let server = slow(2);
    let client = server.open_post(TEXT, &with(endless(4, 500), json!({"n": 4})));
    wait_until("running", || server.engine.metrics().running == 2);
    drop(client);
    assert!(server.passes_until_idle() <= FEW);
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
    assert!(server.passes_until_idle() <= FEW);
}

#[test]
fn a_client_that_only_stops_sending_is_still_there() {
    let server = slow(4);
    let mut client = server.open_post(TEXT, &endless(4, 40));
    wait_until("generated_tokens", || {
        server.engine.metrics().generated_tokens > 3
    });
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.contains("\"completion_tokens\":40"),
        "{answer}"
    );
}
