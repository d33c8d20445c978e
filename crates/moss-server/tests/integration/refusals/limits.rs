//! Limits of size, time and number.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use moss_engine::EngineOptions;
use moss_server::Limits;
use moss_testing::{
    http::{JSON, first_text, with},
    wait_until,
};
use serde_json::json;

use crate::support::{CHAT, Setup, TEXT, endless, sum};

#[test]
fn bodies_are_bounded_in_size_and_kind_and_time() {
    let mut setup = Setup::default();
    setup.options.limits.body_bytes = 1000;
    setup.options.limits.body_time = Duration::from_secs(1);
    let server = setup.start();
    let reply = server.send("POST", CHAT, &[JSON], &[b' '; 1001]);
    assert_eq!(reply.error().0, 413);
    let reply = server.send(
        "POST",
        CHAT,
        &[("content-type", "text/plain")],
        sum().to_string().as_bytes(),
    );
    assert_eq!(reply.error().0, 415);
    // The header announces ten bytes, and one is sent.
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"POST /v1/completions HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 408"), "{answer}");
}

#[test]
fn heads_are_bounded_in_size_and_time() {
    let mut setup = Setup::default();
    setup.options.limits.header_time = Duration::from_secs(1);
    let server = setup.start();
    let large = "x".repeat(60_000);
    assert_eq!(
        server
            .send("GET", "/health", &[("x-large", &large)], b"")
            .status,
        431
    );
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\n").unwrap();
    let mut answer = Vec::new();
    // The server closes the connection, with or without a response.
    let _ = stream.read_to_end(&mut answer);
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"),
        "{answer:?}"
    );
}

#[test]
fn a_full_queue_is_a_429_and_waiting_too_long_a_503() {
    let mut setup = Setup {
        pause: Duration::from_millis(20),
        ..Setup::default()
    };
    setup.engine = EngineOptions {
        max_sequences: 1,
        queue_limit: 1,
        ..setup.engine
    };
    setup.options.limits.queue_time = Some(Duration::from_secs(2));
    let server = setup.start();
    let mut running = server.lines(TEXT, &with(endless(4, 1000), json!({"stream": true})));
    first_text(&mut running);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.post(TEXT, &endless(4, 5)));
        wait_until("the queue", || server.engine.metrics().waiting > 0);
        let reply = server.post(TEXT, &endless(4, 5));
        assert_eq!(
            (reply.error().0, reply.header("retry-after")),
            (429, Some("1"))
        );
        assert_eq!(
            (server.get("/health").status, server.get("/ready").status),
            (200, 200)
        );
        let reply = waiting.join().unwrap();
        assert_eq!(
            (reply.error().0, reply.error().2.as_str()),
            (503, "queue_timeout")
        );
    });
}

#[test]
fn connections_beyond_the_limit_wait_for_a_place() {
    let mut setup = Setup::default();
    setup.options.limits = Limits {
        connections: 1,
        header_time: Duration::from_secs(1),
        ..Limits::default()
    };
    let server = setup.start();
    let start = Instant::now();
    let idle = TcpStream::connect(server.address).unwrap();
    // The server closes the idle connection after the header time, then accepts the next one.
    assert_eq!(server.get("/health").status, 200);
    assert!(start.elapsed() >= Duration::from_secs(1));
    drop(idle);
}
