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
