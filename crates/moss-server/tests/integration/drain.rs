//! Graceful shutdown.

use std::{
    io::Read,
    net::TcpStream,
    time::{Duration, Instant},
};

use moss_testing::{
    http::{JSON, Reply, first_text, with},
    model::Fault,
    wait_until,
};
use serde_json::{Value, json};

use crate::support::{CHAT, Running, Setup, TEXT, endless};

fn streaming(server: &Running, max_tokens: usize) -> std::io::BufReader<TcpStream> {
    let asked = json!({"stream": true, "stream_options": {"include_usage": true}});
    let mut lines = server.lines(TEXT, &with(endless(4, max_tokens), asked));
    first_text(&mut lines);
    lines
}

#[test]
fn running_answers_are_finished_and_new_connections_refused() {
    let mut server = Setup {
        pause: Duration::from_millis(10),
        ..Setup::default()
    }
    .start();
    let mut lines = streaming(&server, 200);
    server.stop();
    wait_until("the closed port", || {
        TcpStream::connect(server.address).is_err()
    });
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(
        rest.contains("\"completion_tokens\":200") && rest.trim_end().ends_with("[DONE]"),
        "{rest}"
    );
    server.wait();
}

#[test]
fn a_stream_interrupted_by_shutdown_ends_with_an_error_event() {
    let mut setup = Setup {
        pause: Duration::from_millis(20),
        ..Setup::default()
    };
    setup.options.drain_time = Duration::from_millis(300);
    let mut server = setup.start();
    let mut lines = streaming(&server, 1900);
    let start = Instant::now();
    server.stop();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    let last = rest.trim_end().lines().last().unwrap();
    assert!(
        last.contains("\"code\":\"shutting_down\"")
            && last.contains("\"stop_reason\":\"shutdown\""),
        "{rest}"
    );
    assert!(
        !rest.contains("[DONE]") && !rest.contains("\"finish_reason\":\"length\""),
        "{rest}"
    );
    server.wait();
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_whole_answer_interrupted_by_shutdown_is_a_503_with_the_text_so_far() {
    for (path, body) in [
        (TEXT, endless(4, 1900)),
        (
            CHAT,
            json!({"messages": [{"role": "user", "content": "Who are you?"}]}),
        ),
    ] {
        let mut setup = Setup {
            pause: Duration::from_millis(50),
            ..Setup::default()
        };
        setup.options.drain_time = Duration::from_millis(300);
        let mut server = setup.start();
        let text = body.to_string();
        let mut stream = server.open("POST", path, &[JSON], text.as_bytes());
        wait_until("tokens", || server.engine.metrics().generated_tokens >= 4);
        server.stop();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let reply = Reply::parse(&bytes);
        assert_eq!(
            (
                reply.error().0,
                reply.error().2.as_str(),
                reply.header("retry-after")
            ),
            (503, "shutting_down", Some("5"))
        );
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        let details = &body["error"]["moss"];
        assert_eq!(details["stop_reason"], "shutdown");
        assert!(
            details["partial"][0]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{body}"
        );
        server.wait();
    }
}

#[test]
fn shutdown_does_not_wait_for_the_step_that_runs() {
    // A layer of a true-size prompt takes seconds on a CPU; this pass never ends.
    let mut setup = Setup {
        fault: Fault::Hangs,
        ..Setup::default()
    };
    setup.options.drain_time = Duration::from_millis(200);
    setup.engine.stall_time = Some(Duration::from_secs(20));
    let mut server = setup.start();
    server.fail_after(3);
    let mut lines = streaming(&server, 1900);
    server.stop();
    let start = Instant::now();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(
        rest.contains("\"code\":\"shutting_down\"") && start.elapsed() < Duration::from_secs(15),
        "{rest}"
    );
    server.wait();
}

#[test]
fn an_idle_connection_does_not_hold_a_server_up() {
    let mut server = Running::start();
    let idle = TcpStream::connect(server.address).unwrap();
    assert_eq!(server.get("/health").status, 200);
    let start = Instant::now();
    server.stop();
    server.wait();
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
    drop(idle);
}
