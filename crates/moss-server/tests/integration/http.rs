//! Connections and request heads, valid and malformed.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use moss_testing::{
    http::{JSON, Reply, with},
    wait_until,
};
use serde_json::{Value, json};

use crate::support::{CHAT, Running, Setup, TEXT, endless, sum};

/// Sends these bytes and returns the whole response. With `half_close`, the client closes its
/// sending side.
fn raw(server: &Running, bytes: &str, half_close: bool) -> String {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    if half_close {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn request(version: &str, path: &str, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST {path} HTTP/{version}\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn error(answer: &str) -> (u16, String, String) {
    let reply = Reply::parse(answer.as_bytes());
    assert_eq!(
        reply.header("content-type"),
        Some("application/json"),
        "{answer}"
    );
    reply.error()
}

#[test]
fn half_closed_clients_receive_their_answers() {
    let server = Setup {
        pause: Duration::from_millis(5),
        ..Setup::default()
    }
    .start();
    for version in ["1.0", "1.1"] {
        for stream in [false, true] {
            let answer = raw(
                &server,
                &request(version, CHAT, &with(sum(), json!({"stream": stream}))),
                true,
            );
            assert!(
                answer.starts_with(&format!("HTTP/{version} 200 OK\r\n")),
                "{answer}"
            );
            assert_eq!(answer.matches("HTTP/1.").count(), 1, "{answer}");
            if stream {
                assert!(answer.contains("data: [DONE]"), "{answer}");
            } else {
                assert!(answer.contains("3 + 4 = 7."), "{answer}");
            }
            let refused = raw(&server, &request(version, "/nowhere", &json!({})), true);
            assert!(
                refused.starts_with(&format!("HTTP/{version} 404 Not Found\r\n")),
                "{refused}"
            );
        }
        let health = raw(
            &server,
            &format!("GET /health HTTP/{version}\r\nhost: localhost\r\n\r\n"),
            true,
        );
        assert!(health.ends_with("alive\n"), "{health}");
    }
}

#[test]
fn a_half_closed_client_that_goes_away_later_is_noticed() {
    let server = Setup {
        pause: Duration::from_millis(25),
        ..Setup::default()
    }
    .start();
    for stream in [false, true] {
        let mut client = TcpStream::connect(server.address).unwrap();
        client
            .write_all(
                request(
                    "1.1",
                    TEXT,
                    &with(endless(4, 1900), json!({"stream": stream})),
                )
                .as_bytes(),
            )
            .unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        wait_until("the request", || server.engine.metrics().running == 1);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(
            server.engine.metrics().running,
            1,
            "it waits for its answer"
        );
        drop(client);
        let start = Instant::now();
        wait_until("the end", || server.engine.metrics().running == 0);
        // The answer itself takes 47 seconds.
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "stream: {stream}"
        );
    }
}

#[test]
fn a_truncated_body_is_an_error() {
    let server = Running::start();
    let answer = raw(
        &server,
        "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{",
        true,
    );
    assert_eq!(error(&answer), (400, String::new(), "body_cut_off".into()));
}

#[test]
fn requests_without_exactly_one_host_are_a_400() {
    let server = Running::start();
    for (hosts, version) in [
        ("host: localhost\r\nhost: localhost\r\n", "1.1"),
        ("host: localhost\r\nHost: evil.example\r\n", "1.1"),
        ("host: localhost\r\nhost: localhost\r\n", "1.0"),
        ("", "1.1"),
        ("host: a, b\r\n", "1.1"),
    ] {
        let head = format!("GET /v1/models HTTP/{version}\r\n{hosts}connection: close\r\n\r\n");
        assert_eq!(
            error(&raw(&server, &head, false)),
            (400, String::new(), "invalid_host".into()),
            "{head}"
        );
    }
}

#[test]
fn the_error_for_an_unknown_host_says_how_it_is_allowed() {
    let server = Running::start();
    let reply = server.send("GET", "/v1/models", &[("host", "moss.example:8888")], b"");
    assert_eq!(reply.error().0, 421);
    assert!(
        reply.body.contains("`--allow-host moss.example`"),
        "{}",
        reply.body
    );
}

#[test]
fn a_request_without_a_host_is_an_error_that_says_so() {
    let server = Running::start();
    for head in [
        "GET /v1/models HTTP/1.0\r\n\r\n",
        "GET /v1/models HTTP/1.0\r\nhost:\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n",
    ] {
        let answer = raw(&server, head, false);
        assert_eq!(
            error(&answer),
            (421, String::new(), "unknown_host".into()),
            "{head}"
        );
        assert!(
            answer.contains("names none") && !answer.contains("--allow-host"),
            "{answer}"
        );
    }
}

#[test]
fn malformed_http_is_refused_in_json_too() {
    let server = Running::start();
    let long = "x".repeat(100_000);
    for (head, expected) in [
        (
            "GET /health HTTP/9.9\r\n\r\n".to_owned(),
            (400, "invalid_http"),
        ),
        ("nonsense\r\n\r\n".to_owned(), (400, "invalid_http")),
        (
            "GET / HTTP/1.1\r\nno colon\r\n\r\n".to_owned(),
            (400, "invalid_http"),
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n\r\n"),
            (431, "head_too_large"),
        ),
    ] {
        let (status, _, code) = error(&raw(&server, &head, false));
        assert_eq!(
            (status, code.as_str()),
            expected,
            "{}",
            &head[..head.len().min(80)]
        );
    }
}

#[test]
fn every_route_refuses_in_json() {
    let mut setup = Setup::default();
    setup.options.limits.body_bytes = 1000;
    let server = setup.start();
    for path in [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/models",
        "/v1/models/a",
        "/api/info",
        "/health",
        "/ready",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/",
        "/index.html",
    ] {
        let reply = server.send("DELETE", path, &[], b"");
        assert_eq!(
            (reply.error().0, reply.error().2.as_str()),
            (405, "method_not_allowed"),
            "{path}"
        );
        assert!(reply.header("allow").is_some(), "{path}");
    }
    for path in [
        "/nowhere",
        "/v1",
        "/v1/models/",
        "/v1/models/%ff",
        "/v1/chat/completions/x",
        "/%00",
    ] {
        let reply = server.get(path);
        assert_eq!(reply.error().0, 404, "{path}");
    }
    for path in [CHAT, TEXT, "/"] {
        assert_eq!(
            server
                .send("POST", path, &[("content-type", "text/plain")], b"{}")
                .error()
                .0,
            415,
            "{path}"
        );
        assert_eq!(
            server.send("POST", path, &[], b"{}").error().0,
            415,
            "{path}"
        );
        assert_eq!(
            server.send("POST", path, &[JSON], &[b' '; 1001]).error().0,
            413,
            "{path}"
        );
    }
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let mut setup = Setup::default();
    setup.options.limits.body_bytes = 1000;
    let server = setup.start();
    let reply = server.send("POST", CHAT, &[JSON], &vec![b' '; 4_000_000]);
    assert_eq!(reply.error(), (413, String::new(), "body_too_large".into()));
}

#[test]
fn other_origins_may_send_whichever_headers_they_ask_for() {
    let mut setup = Setup::default();
    setup.options.cors_origins = vec!["https://a.example".into()];
    let server = setup.start();
    let wanted = "authorization,content-type,x-stainless-arch,x-stainless-retry-count,x-whatever";
    let headers = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", wanted),
    ];
    let reply = server.send("OPTIONS", CHAT, &headers, b"");
    assert_eq!(
        (reply.status, reply.header("access-control-allow-headers")),
        (200, Some(wanted))
    );
    let headers = [("origin", "https://b.example"), headers[1], headers[2]];
    assert_eq!(
        server
            .send("OPTIONS", CHAT, &headers, b"")
            .header("access-control-allow-origin"),
        None
    );
    // Pages of other origins can read errors too.
    let refused = server.send("POST", CHAT, &[("origin", "https://a.example")], b"");
    assert_eq!(
        (
            refused.status,
            refused.header("access-control-allow-origin")
        ),
        (415, Some("https://a.example"))
    );
}
