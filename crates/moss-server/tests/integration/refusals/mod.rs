//! Requests that are refused, and the errors.

mod access;
mod limits;

use moss_testing::http::{JSON, with};
use serde_json::{Value, json};

use crate::support::{CHAT, Running, TEXT, endless, sum};

fn refused(server: &Running, path: &str, body: Value, expected: (u16, &str, &str)) {
    let (status, param, code) = server.post(path, &body).error();
    assert_eq!((status, param.as_str(), code.as_str()), expected, "{body}");
}

#[test]
fn fields_that_are_not_supported_are_named() {
    let server = Running::start();
    let no = |fields: Value, param| {
        refused(
            &server,
            CHAT,
            with(sum(), fields),
            (400, param, "unsupported_parameter"),
        )
    };
    no(json!({"tools": [{}]}), "tools");
    no(
        json!({"stream_options": {"include_usage": true}}),
        "stream_options",
    );
    no(
        json!({"moss": {"plugins": {"web_search": true}}}),
        "moss.plugins",
    );
    no(
        json!({"response_format": {"type": "json_object"}}),
        "response_format.type",
    );
    no(json!({"top_logprobs": 2}), "top_logprobs");
    no(
        json!({"max_tokens": 2, "max_completion_tokens": 3}),
        "max_completion_tokens",
    );
    let answer = json!({"role": "assistant", "content": "b", "moss": {"thoughts": "c"}});
    no(
        json!({"messages": [sum()["messages"][0], answer, sum()["messages"][0]]}),
        "messages[1].moss",
    );
    refused(
        &server,
        TEXT,
        json!({"prompt": "a", "echo": true}),
        (400, "echo", "unsupported_parameter"),
    );
}

#[test]
fn an_answer_is_taken_back_as_it_came() {
    let server = Running::start();
    let reply = server.post(CHAT, &sum());
    let answer: Value = serde_json::from_str(&reply.body).unwrap();
    let message = answer["choices"][0]["message"].clone();
    assert!(
        message.as_object().unwrap().contains_key("refusal"),
        "{message}"
    );
    let question = sum()["messages"][0].clone();
    let messages = |answer: Value| json!({"messages": [question, answer, question]});
    let again = server.post(CHAT, &with(sum(), messages(message.clone())));
    assert_eq!(again.status, 200, "{}", again.body);
    let refusing = with(message, json!({"refusal": "no"}));
    refused(
        &server,
        CHAT,
        with(sum(), messages(refusing)),
        (400, "messages[1].refusal", "unsupported_parameter"),
    );
}

#[test]
fn malformed_requests_are_errors_that_name_the_field() {
    let server = Running::start();
    let no = |fields: Value, param| {
        refused(
            &server,
            CHAT,
            with(sum(), fields),
            (400, param, "invalid_json"),
        )
    };
    no(json!({"temperature": "hot"}), "temperature");
    no(json!({"messages": "hello"}), "messages");
    no(
        json!({"messages": [{"role": "tool", "content": "a"}]}),
        "messages[0].role",
    );
    no(
        json!({"messages": [{"role": "user", "content": 7}]}),
        "messages[0].content",
    );
    let parts = |part: Value| json!({"messages": [sum()["messages"][0], {"role": "user", "content": [{"type": "text", "text": "a"}, part]}]});
    no(
        parts(json!({"type": "image_url"})),
        "messages[1].content[1].type",
    );
    no(
        parts(json!({"type": "text", "text": 7})),
        "messages[1].content[1].text",
    );
    no(parts(json!({"type": "text"})), "messages[1].content[1]");
    no(parts(json!("a")), "messages[1].content[1]");
    no(json!({"n": -1}), "n");
    for body in ["", "{", "[]", "null", "{\"messages\":[]} x", "\u{feff}{}"] {
        let reply = server.send("POST", CHAT, &[JSON], body.as_bytes());
        assert_eq!(
            (reply.error().0, reply.error().2.as_str()),
            (400, "invalid_json"),
            "{body}"
        );
    }
    let deep = format!("{{\"messages\":{}", "[".repeat(100_000));
    assert_eq!(
        server
            .send("POST", CHAT, &[JSON], deep.as_bytes())
            .error()
            .0,
        400
    );
    assert_eq!(
        server
            .send("POST", CHAT, &[JSON], b"{\"messages\":\"\xff\"}")
            .error()
            .0,
        400
    );
}

#[test]
fn values_out_of_range_are_named_with_the_range() {
    let server = Running::start();
    let no = |fields: Value, param| {
        refused(
            &server,
            CHAT,
            with(sum(), fields),
            (422, param, "invalid_value"),
        )
    };
    no(json!({"temperature": 2.1}), "temperature");
    no(json!({"top_p": -0.1}), "top_p");
    no(json!({"min_p": 1e300}), "min_p");
    no(json!({"presence_penalty": 3}), "presence_penalty");
    no(json!({"repetition_penalty": 0}), "repetition_penalty");
    no(json!({"n": 9}), "n");
    no(json!({"n": 0}), "n");
    no(json!({"max_tokens": 0}), "max_tokens");
    no(json!({"stop": vec!["x"; 17]}), "stop");
    no(json!({"stop": "x".repeat(257)}), "stop");
    no(json!({"logit_bias": {"x": 1}}), "logit_bias.x");
    no(json!({"logit_bias": {"1": 101}}), "logit_bias.1");
    no(
        json!({"logprobs": true, "top_logprobs": 21}),
        "top_logprobs",
    );
    no(json!({"moss": {"max_time_s": 0}}), "moss.max_time_s");
    no(json!({"messages": []}), "messages");
    refused(
        &server,
        TEXT,
        json!({"prompt": vec!["a"; 9]}),
        (422, "prompt", "invalid_value"),
    );
    refused(
        &server,
        TEXT,
        json!({"prompt": ["a", "b"], "n": 5}),
        (422, "n", "invalid_value"),
    );
    refused(
        &server,
        TEXT,
        json!({"prompt": ""}),
        (422, "", "invalid_prompt"),
    );
    refused(
        &server,
        TEXT,
        json!({"prompt": [4_000_000]}),
        (422, "", "invalid_prompt"),
    );
}

#[test]
fn prompts_longer_than_the_context_are_refused() {
    let server = Running::start();
    let long = json!({"messages": [{"role": "user", "content": "word ".repeat(5000)}]});
    refused(
        &server,
        CHAT,
        long.clone(),
        (400, "", "context_length_exceeded"),
    );
    refused(
        &server,
        TEXT,
        endless(2048, 1),
        (400, "", "context_length_exceeded"),
    );
    refused(
        &server,
        "/",
        json!({"prompt": "word ".repeat(5000)}),
        (400, "", "context_length_exceeded"),
    );
}

#[test]
fn a_length_that_the_prompt_alone_fills_is_named_and_the_window_is_not() {
    let server = Running::start();
    let asked = |prompt: &str, max_length: usize| json!({"prompt": prompt, "max_length": max_length, "temperature": 0});
    let reply = server.post("/", &asked("你好", 3));
    assert_eq!(
        reply.error(),
        (422, "max_length".into(), "invalid_value".into())
    );
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    let tokens = body["error"]["message"]
        .as_str()
        .unwrap()
        .split(' ')
        .find_map(|word| word.parse::<usize>().ok());
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("`max_length` is 3, expected more than the ")
    );
    let tokens = tokens.unwrap();
    // The error names the length of the prompt; one more is enough for one token.
    refused(
        &server,
        "/",
        asked("你好", tokens),
        (422, "max_length", "invalid_value"),
    );
    assert_eq!(server.post("/", &asked("你好", tokens + 1)).status, 200);
    assert_eq!(server.engine.metrics().generated_tokens, 1);
    for max_length in [1000, 4000] {
        refused(
            &server,
            "/",
            asked(&"word ".repeat(5000), max_length),
            (400, "", "context_length_exceeded"),
        );
    }
}

#[test]
fn another_model_is_a_404_and_so_is_an_unknown_route() {
    let server = Running::start();
    refused(
        &server,
        CHAT,
        with(sum(), json!({"model": "gpt-4"})),
        (404, "model", "model_not_found"),
    );
    assert_eq!(
        server.get("/v1/models/gpt-4").error(),
        (404, "model".into(), "model_not_found".into())
    );
    assert_eq!(server.get("/v1/audio/speech").error().0, 404);
    assert_eq!(
        server.post("/v1/audio/speech", &json!({})).error().2,
        "unknown_url"
    );
    assert_eq!(server.get("/../Cargo.toml").error().0, 404);
    let reply = server.send("DELETE", CHAT, &[], b"");
    assert_eq!(
        (reply.error().0, reply.header("allow")),
        (405, Some("post"))
    );
}
