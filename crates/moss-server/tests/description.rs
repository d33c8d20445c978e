//! `openapi.json` against what the server takes.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::Running;

#[test]
fn every_field_that_is_taken_is_described_and_the_other_way_round() {
    let server = Running::start();
    let description = server.get("/openapi.json").json();
    for (path, schema) in [
        ("/v1/chat/completions", "ChatRequest"),
        ("/v1/completions", "CompletionRequest"),
        ("/", "PublishedRequest"),
    ] {
        // The refusal of an unknown field lists those that are known.
        let refusal = server.post(path, &json!({"no such field": 1})).body;
        let (_, known) = refusal.split_once("expected one of ").unwrap();
        let known: BTreeSet<_> = known.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let described = description["components"]["schemas"][schema]["properties"].as_object().unwrap();
        assert_eq!(described.keys().cloned().collect::<BTreeSet<_>>(), known, "{schema}");
    }
}

#[test]
fn every_route_that_is_described_is_there() {
    let server = Running::start();
    let description = server.get("/openapi.json").json();
    for (path, methods) in description["paths"].as_object().unwrap() {
        let methods: Vec<_> = methods.as_object().unwrap().keys().map(|name| name.to_uppercase()).collect();
        for method in methods {
            let status = server.send(&method, &path.replace("{name}", "moss-demo"), &[], b"").status;
            // A request without a body is refused for that, by a route that is there.
            assert!(status == if method == "POST" { 415 } else { 200 }, "{method} {path}: {status}");
        }
    }
    let page = server.get("/docs").body;
    assert!(
        description["paths"]
            .as_object()
            .unwrap()
            .keys()
            .all(|path| page.contains(&format!(" {path}</code></h2>")))
    );
    assert_ne!(description, Value::Null);
}
