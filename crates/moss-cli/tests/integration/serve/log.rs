//! Contents of requests in the log.

use serde_json::json;

use super::TEXT;
use crate::support::server::ServerProcess;

#[test]
fn prompts_are_logged_only_with_log_prompts() {
    for (args, expected) in [(vec!["-vv"], false), (vec!["-vv", "--log-prompts"], true)] {
        let server = ServerProcess::demo(&args);
        let body = json!({"prompt": "zebrafish", "max_tokens": 2});
        server.client().post(TEXT, &body).json();
        let log = server.kill();
        assert!(log.contains("answered"), "{log}");
        assert_eq!(log.contains("zebrafish"), expected, "{log}");
    }
}

#[test]
fn an_unknown_field_is_logged_once_and_refused_by_a_strict_server() {
    for (args, expected, count) in [(vec![], 200, 1), (vec!["--strict"], 400, 0)] {
        let server = ServerProcess::demo(&args);
        for _ in 0..2 {
            let body = json!({"prompt": "Hello", "max_tokens": 1, "zebrafish\u{1b}[31m": true});
            let reply = server.client().post(TEXT, &body);
            assert_eq!(reply.status, expected);
            assert!(reply.body.contains("zebrafish"), "{}", reply.body);
        }
        let log = server.kill();
        assert_eq!(log.matches("zebrafish").count(), count, "{log}");
        assert!(
            !log.contains("zebrafish\u{1b}"),
            "control characters are escaped: {log}"
        );
    }
}

#[test]
fn a_valid_traceparent_is_logged_and_an_invalid_one_is_ignored() {
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let server = ServerProcess::demo(&["--api-key", "secret"]);
    for header in [
        format!("00-{trace}-{parent}-01"),
        format!("ff-{}-{parent}-01", "1".repeat(32)),
        "\u{1}nonsense".into(),
    ] {
        let headers = [("authorization", "Bearer secret"), ("traceparent", &header)];
        let reply = server.client().send("GET", "/v1/models", &headers, b"");
        assert!([200, 400].contains(&reply.status), "{}", reply.body);
    }
    let log = server.kill();
    assert_eq!(log.matches("trace_id=").count(), 1, "{log}");
    let line = log.lines().find(|line| line.contains("trace_id=")).unwrap();
    for part in [
        &format!("trace_id={trace}"),
        &format!("parent_id={parent}"),
        "key=\"#1\"",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!log.contains("secret"), "{log}");
}
