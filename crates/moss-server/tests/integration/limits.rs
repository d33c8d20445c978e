//! Time limits of the queue, of a prompt and of an answer, with a model that takes time for each
//! token.

use std::{
    io::Read,
    time::{Duration, Instant},
};

use moss_engine::EngineOptions;
use moss_testing::http::{Reply, first_text, with};
use serde_json::{Value, json};

use crate::support::{CHAT, Setup, TEXT, endless, sum};

fn slow(by_token: u64) -> Setup {
    Setup {
        by_token: Duration::from_millis(by_token),
        ..Setup::default()
    }
}

#[test]
fn the_time_limit_of_an_answer_starts_at_its_first_token() {
    // The prompt takes more than three times the limit of the answer.
    let server = slow(10).start();
    let asked = with(endless(100, 500), json!({"moss": {"max_time_s": 0.3}}));
    for stream in [false, true] {
        let reply = server.post(
            TEXT,
            &with(
                asked.clone(),
                // No cached prompt.
                json!({"stream": stream, "prompt_cache_key": stream.to_string()}),
            ),
        );
        let events = if stream {
            reply.events()
        } else {
            vec![reply.json()]
        };
        let text: String = events
            .iter()
            .filter_map(|event| event["choices"][0]["text"].as_str())
            .collect();
        let last = events.last().unwrap();
        assert!(!text.is_empty(), "stream: {stream}: {last}");
        // Streams have the stop reason with and without usage.
        assert_eq!(
            (
                &last["choices"][0]["finish_reason"],
                &last["moss"]["stop_reason"]
            ),
            (&json!("length"), &json!("time_limit"))
        );
        assert!(last["moss"]["time_to_first_token_s"].as_f64().unwrap() > 0.9);
    }
}

#[test]
fn the_default_limits_do_not_cut_off_a_slow_first_turn() {
    // MOSS's system prompt takes longer than the minimum limit. The limits follow the measured
    // speed.
    let mut setup = slow(10);
    setup.engine.stall_time = Some(Duration::from_secs(2));
    let server = setup.start();
    for _ in 0..2 {
        let reply = server.post(CHAT, &with(sum(), json!({"max_tokens": 5})));
        assert!(
            !reply.json()["choices"][0]["message"]["content"]
                .as_str()
                .unwrap()
                .is_empty()
        );
    }
}

#[test]
fn a_prompt_that_is_not_processed_in_time_is_an_error_that_says_so_not_an_empty_answer() {
    let mut setup = slow(10);
    setup.options.limits.prompt_time = Some(Duration::from_millis(300));
    let server = setup.start();
    for (path, body) in [(TEXT, endless(200, 5)), (CHAT, sum())] {
        let whole = server.post(path, &body);
        assert_eq!(
            (whole.error().0, whole.error().2.as_str()),
            (503, "prompt_timeout"),
            "{path}"
        );
        assert!(whole.header("retry-after").is_some());
        let error: Value = serde_json::from_str(&whole.body).unwrap();
        assert_eq!(error["error"]["moss"]["stop_reason"], "prompt_time_limit");
        // A stream has sent its status by then, so the error is its last event.
        let stream = server.post(path, &with(body, json!({"stream": true})));
        let last = stream.body.trim_end().lines().last().unwrap();
        assert_eq!(stream.status, 200);
        assert!(
            last.contains("\"code\":\"prompt_timeout\"")
                && !stream.body.contains("finish_reason\":\"length"),
            "{last}"
        );
    }
    let published = server.post("/", &json!({"prompt": "Who are you?"}));
    assert_eq!(
        (published.error().0, published.error().2.as_str()),
        (503, "prompt_timeout")
    );
}

#[test]
fn a_queue_timeout_is_a_503_with_retry_after_before_a_stream_starts() {
    let mut setup = Setup {
        pause: Duration::from_millis(20),
        ..Setup::default()
    };
    setup.engine = EngineOptions {
        max_sequences: 1,
        ..setup.engine
    };
    setup.options.limits.queue_time = Some(Duration::from_millis(300));
    let server = setup.start();
    let mut running = server.lines(TEXT, &with(endless(4, 1000), json!({"stream": true})));
    first_text(&mut running);
    for (path, body) in [
        (TEXT, endless(4, 5)),
        (TEXT, with(endless(4, 5), json!({"n": 3}))),
        (CHAT, sum()),
    ] {
        for stream in [true, false] {
            let reply = server.post(path, &with(body.clone(), json!({"stream": stream})));
            assert_eq!(
                (reply.error().0, reply.error().2.as_str()),
                (503, "queue_timeout"),
                "{path}, stream: {stream}"
            );
            assert_eq!(reply.header("retry-after"), Some("5"));
        }
    }
    drop(running);
}

#[test]
fn a_stream_has_no_status_until_it_has_left_the_queue() {
    let mut setup = Setup {
        pause: Duration::from_millis(10),
        ..Setup::default()
    };
    setup.engine = EngineOptions {
        max_sequences: 1,
        ..setup.engine
    };
    let server = setup.start();
    let mut running = server.lines(TEXT, &with(endless(4, 300), json!({"stream": true})));
    first_text(&mut running);
    let mut waiting = server.open_post(TEXT, &with(endless(4, 5), json!({"stream": true})));
    waiting
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert!(
        waiting.read(&mut [0; 1]).is_err(),
        "a waiting request has no response"
    );
    waiting
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut bytes = Vec::new();
    waiting.read_to_end(&mut bytes).unwrap();
    assert!(!Reply::parse(&bytes).events().is_empty());
}

#[test]
fn answers_of_one_request_that_wait_for_each_other_are_not_a_queue_timeout() {
    let mut setup = Setup {
        pause: Duration::from_millis(20),
        ..Setup::default()
    };
    setup.engine = EngineOptions {
        max_sequences: 1,
        ..setup.engine
    };
    setup.options.limits.queue_time = Some(Duration::from_millis(200));
    let server = setup.start();
    for stream in [false, true] {
        let asked = with(endless(4, 20), json!({"n": 3, "stream": stream}));
        let began = Instant::now();
        let reply = server.post(TEXT, &asked);
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert!(began.elapsed() > Duration::from_millis(600));
    }
}
