//! Requests as client libraries send them. Fields that would change the answer are refused by name.

mod unknown_fields;

use moss_server::fuzzing;
use moss_testing::{
    http::{JSON, with},
    repository,
};
use serde_json::{Value, json};

use crate::support::{CHAT, Running, TEXT, sum};

const EXPECTED: &str = "3 + 4 = 7.";

fn text() -> Value {
    json!({"prompt": "Hello", "max_tokens": 2, "temperature": 0})
}

fn content(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

/// Returns a conversation that ends in the sum, after an answer with these fields.
fn after_answer(fields: Value) -> Value {
    let answer = with(json!({"role": "assistant", "content": "你好！"}), fields);
    with(
        sum(),
        json!({"messages": [{"role": "user", "content": "你好"}, answer, sum()["messages"][0]]}),
    )
}

/// Checks that a body gets the same answer as `plain`.
fn accepted_as(server: &Running, path: &str, body: &Value, plain: &Value) {
    let reply = server.post(path, body);
    assert_eq!(reply.status, 200, "{body}\n{}", reply.body);
    let answer = reply.json();
    assert!(answer["moss"].get("ignored").is_none(), "{body}\n{answer}");
    if path == CHAT {
        assert_eq!(
            content(&answer),
            content(&server.post(path, plain).json()),
            "{body}"
        );
    }
}

fn accepted(server: &Running, path: &str, body: Value) {
    accepted_as(server, path, &body, &sum());
}

/// Checks that these fields of a returned answer change nothing.
fn accepted_of_answer(server: &Running, fields: Value) {
    accepted_as(
        server,
        CHAT,
        &after_answer(fields),
        &after_answer(json!({})),
    );
}

fn refused(server: &Running, path: &str, body: Value, param: &str) {
    let (status, found, code) = server.post(path, &body).error();
    assert_eq!(
        (status, found.as_str(), code.as_str()),
        (400, param, "unsupported_parameter"),
        "{body}"
    );
}

#[test]
fn bodies_of_clients_that_were_refused_once_are_answered() {
    let server = Running::start();
    let says = |role: &str, content: &str| json!({"role": role, "content": content});
    let question = says("user", "What is 3 + 4?");
    let hello = [says("user", "你好"), says("assistant", "你好！")];
    let english = says("user", "From here on, English.\n\nWhat is 3 + 4?");
    for (name, plain) in [
        (
            "autogen-name",
            json!([says("system", "Pick a speaker."), question]),
        ),
        ("sdk-model_dump", json!([hello[0], hello[1], question])),
        (
            "system-in-the-middle",
            json!([says("system", "Be brief."), hello[0], hello[1], english]),
        ),
        ("tools-null", json!([question])),
    ] {
        let file = repository("crates/moss-server/tests/bodies/chat").join(format!("{name}.json"));
        let reply = server.send("POST", CHAT, &[JSON], &std::fs::read(file).unwrap());
        let plain = server
            .post(CHAT, &json!({"messages": plain, "temperature": 0}))
            .json();
        let answer = reply.json();
        assert_eq!(content(&answer), content(&plain), "{name}");
        assert_eq!(
            answer["usage"]["prompt_tokens"], plain["usage"]["prompt_tokens"],
            "{name}"
        );
    }
}

#[test]
fn a_list_where_an_object_belongs_is_refused_by_name() {
    let server = Running::start();
    for (path, param, body) in [
        (
            CHAT,
            "stream_options",
            with(sum(), json!({"stream_options": [null, null]})),
        ),
        (
            TEXT,
            "stream_options",
            with(text(), json!({"stream_options": [true]})),
        ),
        (CHAT, "moss", with(sum(), json!({"moss": [1.0]}))),
        (
            CHAT,
            "messages[0]",
            with(sum(), json!({"messages": [["user", "What is 3 + 4?"]]})),
        ),
        (
            CHAT,
            "messages[0].content[0]",
            with(
                sum(),
                json!({"messages": [{"role": "user", "content": [["text", "a"]]}]}),
            ),
        ),
        (TEXT, "body", json!(["Hello"])),
    ] {
        let (status, found, _) = server.post(path, &body).error();
        assert_eq!((status / 100, found.as_str()), (4, param), "{body}");
    }
}

#[test]
fn null_is_accepted_in_every_known_field() {
    let server = Running::start();
    for (path, body) in [(CHAT, sum()), (TEXT, text())] {
        let fields = fuzzing::fields(path)
            .iter()
            .filter(|field| !["messages", "prompt"].contains(field));
        let nulls: serde_json::Map<_, _> = fields
            .map(|field| (field.to_string(), Value::Null))
            .collect();
        assert!(nulls.len() > 20);
        accepted(&server, path, with(Value::Object(nulls), body));
    }
    for field in [
        "refusal",
        "audio",
        "function_call",
        "tool_calls",
        "tool_call_id",
        "name",
        "annotations",
        "parsed",
        "moss",
    ] {
        accepted_of_answer(&server, json!({field: null}));
    }
}

#[test]
fn values_that_change_nothing_are_accepted() {
    let server = Running::start();
    for fields in [
        json!({"tools": []}),
        json!({"tools": [], "tool_choice": "auto", "parallel_tool_calls": true}),
        json!({"tool_choice": "none", "functions": [], "function_call": "none", "parallel_tool_calls": false}),
        json!({"store": false, "metadata": {"a": "b"}, "service_tier": "auto", "user": "u"}),
        json!({"metadata": [], "logit_bias": [], "modalities": []}), // empty maps as PHP encodes them
        json!({"prompt_cache_key": "k", "prompt_cache_retention": "24h", "safety_identifier": "s"}),
        json!({"stream_options": {"include_obfuscation": false}}),
        json!({"stream_options": {}}),
        json!({"logprobs": false, "top_logprobs": 0}),
        json!({"max_tokens": -1}),
        json!({"max_tokens": 512.0, "n": 1.0, "seed": 42.0, "top_k": 40.0, "top_logprobs": 0.0}),
        json!({"max_completion_tokens": -1, "max_tokens": -1}),
        json!({"max_completion_tokens": 512, "max_tokens": 512.0}),
        json!({"top_k": -1, "seed": 18446744073709551615_u64}),
        json!({"modalities": ["text"], "audio": {}, "response_format": {"type": "text"}}),
        json!({"response_format": {}, "reasoning_effort": "none", "verbosity": "medium", "model": ""}),
        json!({"presence_penalty": 0, "frequency_penalty": 0.0, "stop": [], "logit_bias": {}}),
        json!({"prediction": {"type": "content", "content": "3 + 4"}, "web_search_options": null}),
        json!({"moss": {"truncation": "disabled", "plugins": {"calculator": false}}}),
        json!({"stop": ""}),
        json!({"stop": ["", null]}),
        json!({"max_tokens": -1, "max_completion_tokens": 50}),
        json!({"max_tokens": 50, "max_completion_tokens": -1}),
        json!({"stream_options": [], "moss": {"plugins": []}, "modalities": ["text", null]}),
        json!({"moss": [], "web_search_options": "", "response_format": {"type": null}}),
        json!({"web_search_options": [], "logit_bias": {"5": null}, "tools": [null]}),
        json!({"function_call": {"name": null}, "audio": {"voice": "", "format": null}}),
    ] {
        accepted(&server, CHAT, with(sum(), fields));
    }
    for fields in [
        json!({"best_of": 1, "echo": false, "suffix": ""}),
        json!({"n": 2, "best_of": 2.0}),
        json!({"max_tokens": 2.0, "logprobs": 0.0}),
        json!({"moss": {"plugins": {}}}),
        json!({"logprobs": false, "stop": ["", null], "stream_options": []}),
    ] {
        accepted(&server, TEXT, with(text(), fields));
    }
    assert_eq!(
        server
            .post(
                "/",
                &json!({"prompt": "你好", "max_length": 2000.0, "uid": null})
            )
            .status,
        200
    );
}

#[test]
fn fields_of_answers_are_taken_back_as_clients_dump_them() {
    let server = Running::start();
    for fields in [
        json!({"refusal": null, "annotations": [], "audio": null, "function_call": null, "tool_calls": []}),
        json!({"refusal": "", "tool_calls": null, "parsed": null, "name": "moss", "moss": {}}),
        json!({"parsed": {"a": 1}, "annotations": [{"type": "url_citation"}]}),
        json!({"moss": {"thoughts": null, "commands": ""}}),
        json!({"content": [{"type": "text", "text": "你好！"}]}),
        json!({"content": [null, {"type": "text", "text": "你好！"}, {"type": "text", "text": null}]}),
        json!({"function_call": {"name": null, "arguments": null}, "audio": {"id": null}, "moss": []}),
        json!({"function_call": {"name": "", "arguments": ""}, "tool_calls": [null]}),
    ] {
        accepted_of_answer(&server, fields);
    }
    let question = json!([{"role": "user", "name": "Planner", "tool_calls": null, "content": "What is 3 + 4?"}]);
    accepted(&server, CHAT, with(sum(), json!({"messages": question})));
}

#[test]
fn values_that_would_change_the_answer_are_refused_by_name() {
    let server = Running::start();
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    for (fields, param) in [
        (json!({"tools": tool}), "tools"),
        (json!({"tools": tool, "tool_choice": "auto"}), "tools"),
        (json!({"tools": 7}), "tools"),
        (json!({"tools": [{"type": null}]}), "tools"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (
            json!({"tool_choice": {"type": "function", "function": {"name": "f"}}}),
            "tool_choice",
        ),
        (json!({"functions": [{"name": "f"}]}), "functions"),
        (json!({"function_call": {"name": "f"}}), "function_call"),
        (json!({"modalities": ["text", "audio"]}), "modalities"),
        (json!({"audio": {"voice": "alloy"}}), "audio"),
        (
            json!({"response_format": {"type": "json_object"}}),
            "response_format.type",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {}}}),
            "response_format.type",
        ),
        (json!({"reasoning_effort": "high"}), "reasoning_effort"),
        (json!({"verbosity": "low"}), "verbosity"),
        (json!({"web_search_options": {}}), "web_search_options"),
        (
            json!({"web_search_options": {"user_location": null}}),
            "web_search_options",
        ),
        (json!({"top_logprobs": 2}), "top_logprobs"),
        (
            json!({"max_tokens": 2, "max_completion_tokens": 3}),
            "max_completion_tokens",
        ),
        (
            json!({"stream_options": {"include_usage": true}}),
            "stream_options",
        ),
        (
            json!({"moss": {"plugins": {"web_search": true}}}),
            "moss.plugins",
        ),
    ] {
        refused(&server, CHAT, with(sum(), fields), param);
    }
    for (fields, param) in [
        (json!({"refusal": "no"}), "messages[1].refusal"),
        (json!({"audio": {"id": "a"}}), "messages[1].audio"),
        (
            json!({"function_call": {"name": "f"}}),
            "messages[1].function_call",
        ),
        (
            json!({"tool_calls": [{"id": "call_1"}]}),
            "messages[1].tool_calls",
        ),
        (
            json!({"tool_call_id": "call_1"}),
            "messages[1].tool_call_id",
        ),
        (json!({"moss": {"thoughts": "t"}}), "messages[1].moss"),
    ] {
        refused(&server, CHAT, after_answer(fields), param);
    }
    for (fields, param) in [
        (json!({"echo": true}), "echo"),
        (json!({"suffix": "s"}), "suffix"),
        (json!({"best_of": 3}), "best_of"),
        (
            json!({"moss": {"plugins": {"web_search": true}}}),
            "moss.plugins",
        ),
        (json!({"moss": {"truncation": "auto"}}), "moss.truncation"),
    ] {
        refused(&server, TEXT, with(text(), fields), param);
    }
}

#[test]
fn null_and_empty_strings_among_stop_strings_leave_the_others_in_effect() {
    let server = Running::start();
    for stop in [json!(["+", null]), json!(["", "+"])] {
        let answer = server
            .post(CHAT, &with(sum(), json!({"stop": stop})))
            .json();
        assert_eq!(content(&answer), "3 ", "{stop}");
    }
}

#[test]
fn a_completion_without_a_prompt_continues_the_separator_of_documents() {
    let server = Running::start();
    let asked = |prompt: Value| {
        let body = with(json!({"max_tokens": 2, "temperature": 0}), prompt);
        let answer = server.post(TEXT, &body).json();
        (answer["choices"].clone(), answer["usage"].clone())
    };
    let expected = asked(json!({"prompt": "<|endoftext|>"}));
    assert_eq!(expected.1["prompt_tokens"], 1);
    assert_eq!(asked(json!({})).0, expected.0);
    assert_eq!(asked(json!({"prompt": null})).0, expected.0);
}

#[test]
fn a_conversation_longer_than_the_window_is_refused_unless_truncation_is_auto() {
    let server = Running::start();
    let mut messages = vec![json!({"role": "system", "content": "Be brief."})];
    for turn in 0..60 {
        messages.push(
            json!({"role": "user", "content": format!("Question {turn}: {}", "word ".repeat(20))}),
        );
        messages.push(json!({"role": "assistant", "content": "word ".repeat(20)}));
    }
    messages.push(sum()["messages"][0].clone());
    let long = with(sum(), json!({"messages": messages}));
    assert_eq!(
        server.post(CHAT, &long).error(),
        (400, String::new(), "context_length_exceeded".into())
    );
    let disabled = with(long.clone(), json!({"moss": {"truncation": "disabled"}}));
    assert_eq!(
        server.post(CHAT, &disabled).error().2,
        "context_length_exceeded"
    );
    let auto = with(long.clone(), json!({"moss": {"truncation": "auto"}}));
    let answer = server.post(CHAT, &auto).json();
    let dropped = answer["moss"]["dropped_messages"].as_u64().unwrap() as usize;
    assert!(
        dropped > 0 && dropped.is_multiple_of(2),
        "whole turns: {dropped}"
    );
    // The result is the same as if the client had dropped these messages and kept the system
    // prompt.
    let mut kept = vec![messages[0].clone()];
    kept.extend_from_slice(&messages[1 + dropped..]);
    let by_hand = server
        .post(CHAT, &with(sum(), json!({"messages": kept})))
        .json();
    assert_eq!(
        answer["usage"]["prompt_tokens"],
        by_hand["usage"]["prompt_tokens"]
    );
    assert_eq!(content(&answer), content(&by_hand));
    let events = server
        .post(CHAT, &with(auto, json!({"stream": true})))
        .events();
    assert_eq!(events[0]["moss"], json!({"dropped_messages": dropped}));
    // A conversation that fits is not changed, and a message that does not fit by itself is
    // refused.
    let short = server
        .post(CHAT, &with(sum(), json!({"moss": {"truncation": "auto"}})))
        .json();
    assert!(short["moss"].get("dropped_messages").is_none());
    let huge = json!({"messages": [{"role": "user", "content": "word ".repeat(5000)}], "moss": {"truncation": "auto"}});
    assert_eq!(
        server.post(CHAT, &huge).error().2,
        "context_length_exceeded"
    );
    let wrong = with(sum(), json!({"moss": {"truncation": "middle"}}));
    assert_eq!(
        server.post(CHAT, &wrong).error(),
        (400, "moss.truncation".into(), "invalid_json".into())
    );
}

#[test]
fn with_include_usage_every_chunk_but_the_last_has_usage_null() {
    let server = Running::start();
    let fields = json!({"stream": true, "stream_options": {"include_usage": true}, "n": 2});
    for (path, body) in [(CHAT, sum()), (TEXT, text())] {
        let events = server.post(path, &with(body, fields.clone())).events();
        let (last, others) = events.split_last().unwrap();
        assert!(
            last["usage"]["total_tokens"].as_u64().unwrap() > 0 && last["choices"] == json!([])
        );
        assert!(
            others
                .iter()
                .all(|event| event.get("usage") == Some(&Value::Null)),
            "{others:?}"
        );
    }
}

#[test]
fn streams_name_their_charset() {
    let server = Running::start();
    for (path, body) in [(CHAT, sum()), (TEXT, text())] {
        let reply = server.post(path, &with(body, json!({"stream": true})));
        assert_eq!(
            reply.header("content-type"),
            Some("text/event-stream; charset=utf-8"),
            "{path}"
        );
    }
}
