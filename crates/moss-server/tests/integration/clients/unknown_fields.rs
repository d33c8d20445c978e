//! Unknown fields: ignored and listed, or refused by a strict server.

use moss_testing::http::with;
use serde_json::{Value, json};

use super::{EXPECTED, accepted, after_answer, content, refused, text};
use crate::support::{CHAT, Running, Setup, TEXT, sum};

#[test]
fn tools_that_the_request_switches_off_are_accepted_and_listed() {
    let server = Running::start();
    let fields =
        json!({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "none"});
    let answer = server.post(CHAT, &with(sum(), fields)).json();
    assert_eq!(
        (content(&answer), &answer["moss"]["ignored"]),
        (EXPECTED, &json!(["tools"]))
    );
}

#[test]
fn unknown_fields_are_ignored_and_listed_in_answers_and_first_chunks() {
    let server = Running::start();
    let fields = json!({
        "chat_template_kwargs": {"a": [1]}, "think": null,
        "messages": [with(sum()["messages"][0].clone(), json!({"weight": 1, "content": [{"type": "text", "text": "What is 3 + 4?", "cache_control": {}}]}))],
        "moss": {"plugins": {"juggling": true}},
    });
    let ignored = json!([
        "chat_template_kwargs",
        "messages[0].content[0].cache_control",
        "messages[0].weight",
        "moss.plugins.juggling",
        "think",
    ]);
    let ignored_fields = |moss: &Value| {
        let mut ignored_fields = moss["ignored"].as_array().unwrap().clone();
        ignored_fields.sort_by_key(Value::to_string);
        Value::Array(ignored_fields)
    };
    let answer = server.post(CHAT, &with(sum(), fields.clone())).json();
    assert_eq!(
        (content(&answer), ignored_fields(&answer["moss"])),
        (EXPECTED, ignored.clone())
    );
    let events = server
        .post(CHAT, &with(with(sum(), fields), json!({"stream": true})))
        .events();
    assert_eq!(ignored_fields(&events[0]["moss"]), ignored);
    assert!(events[1..].iter().all(|event| event.get("moss").is_none()));
    let events = server
        .post(
            TEXT,
            &with(text(), json!({"stream": true, "guided_json": {}})),
        )
        .events();
    assert_eq!(events[0]["moss"], json!({"ignored": ["guided_json"]}));
    assert!(
        events[1..]
            .iter()
            .all(|event| event["moss"].get("ignored").is_none())
    );
    let answer = server
        .post("/", &json!({"prompt": "你好", "top_k": 4}))
        .json();
    assert_eq!(answer["moss"], json!({"ignored": ["top_k"]}));
}

#[test]
fn many_unknown_fields_make_no_large_answer() {
    let server = Running::start();
    let fields: serde_json::Map<_, _> = (0..1000)
        .map(|index| (format!("{index}{}", "x".repeat(300)), json!(1)))
        .collect();
    let answer = server
        .post(CHAT, &with(sum(), Value::Object(fields)))
        .json();
    let ignored = answer["moss"]["ignored"].as_array().unwrap();
    assert!(
        ignored.len() <= 32
            && ignored
                .iter()
                .all(|path| path.as_str().unwrap().len() <= 96)
    );
}

#[test]
fn a_strict_server_refuses_unknown_fields_by_name() {
    let mut setup = Setup::default();
    setup.options.strict = true;
    let server = setup.start();
    accepted(
        &server,
        CHAT,
        with(sum(), json!({"tools": null, "store": true})),
    );
    refused(&server, CHAT, with(sum(), json!({"think": true})), "think");
    refused(
        &server,
        CHAT,
        after_answer(json!({"reasoning_content": null})),
        "messages[1].reasoning_content",
    );
    refused(
        &server,
        CHAT,
        with(sum(), json!({"moss": {"plugins": {"juggling": true}}})),
        "moss.plugins.juggling",
    );
    refused(
        &server,
        TEXT,
        with(text(), json!({"guided_json": {}})),
        "guided_json",
    );
    refused(&server, "/", json!({"prompt": "a", "top_k": 4}), "top_k");
}
