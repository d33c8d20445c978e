//! `openapi.json`, compared with the requests and answers of the server.

use std::collections::BTreeSet;

use moss_testing::http::with;
use serde_json::{Value, json};

use crate::support::{Running, Setup, sum};

#[test]
fn every_field_that_is_taken_is_described_and_the_other_way_round() {
    let server = Running::start();
    let description = server.get("/openapi.json").json();
    for (path, schema) in [
        ("/v1/chat/completions", "ChatRequest"),
        ("/v1/completions", "CompletionRequest"),
        ("/", "PublishedRequest"),
        ("/tokenize", "TokenizeRequest"),
        ("/detokenize", "DetokenizeRequest"),
    ] {
        let known: BTreeSet<_> = moss_server::fuzzing::fields(path)
            .iter()
            .map(|field| field.to_string())
            .collect();
        let described = description["components"]["schemas"][schema]["properties"]
            .as_object()
            .unwrap();
        assert_eq!(
            described.keys().cloned().collect::<BTreeSet<_>>(),
            known,
            "{schema}"
        );
    }
}

#[test]
fn every_route_that_is_described_is_there() {
    let server = Running::start();
    let description = server.get("/openapi.json").json();
    for (path, methods) in description["paths"].as_object().unwrap() {
        let methods: Vec<_> = methods
            .as_object()
            .unwrap()
            .keys()
            .map(|name| name.to_uppercase())
            .collect();
        for method in methods {
            let status = server
                .send(&method, &path.replace("{name}", "moss-demo"), &[], b"")
                .status;
            // An existing route refuses a request without a body with 415.
            assert!(
                status == if method == "POST" { 415 } else { 200 },
                "{method} {path}: {status}"
            );
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

/// Checks a value against a schema. Supports the part of JSON Schema that the descriptions of
/// answers use.
fn conforms(description: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {value} is not {schema}"));
    if let Some(reference) = schema["$ref"].as_str() {
        return conforms(
            description,
            description.pointer(&reference[1..]).unwrap(),
            value,
        );
    }
    if let Some(forms) = schema["anyOf"].as_array()
        && !forms
            .iter()
            .any(|form| conforms(description, form, value).is_ok())
    {
        return wrong("anyOf");
    }
    if schema
        .get("const")
        .is_some_and(|expected| expected != value)
    {
        return wrong("const");
    }
    if schema["enum"]
        .as_array()
        .is_some_and(|values| !values.contains(value))
    {
        return wrong("enum");
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds: Vec<_> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    let fits = kinds.contains(&kind) || (kind == "integer" && kinds.contains(&"number"));
    if !kinds.is_empty() && !fits {
        return wrong("type");
    }
    for field in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|_| value.is_object())
    {
        if value.get(field.as_str().unwrap()).is_none() {
            return wrong("required");
        }
    }
    if let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object())
    {
        for (name, field) in fields {
            let Some(property) = properties.get(name) else {
                return wrong(&format!("`{name}` is not described"));
            };
            conforms(description, property, field)?;
        }
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        values
            .iter()
            .try_for_each(|item| conforms(description, items, item))?;
    }
    Ok(())
}

#[test]
fn answers_and_chunks_of_streams_are_as_described() {
    let server = Running::start();
    let description = server.get("/openapi.json").json();
    let chat = with(
        sum(),
        json!({"logprobs": true, "top_logprobs": 2, "unknown": 1}),
    );
    let text =
        json!({"prompt": "Hello", "max_tokens": 4, "temperature": 0, "logprobs": 2, "unknown": 1});
    for (path, body) in [("/v1/chat/completions", chat), ("/v1/completions", text)] {
        let content = &description["paths"][path]["post"]["responses"]["200"]["content"];
        let whole = server.post(path, &body).json();
        conforms(&description, &content["application/json"]["schema"], &whole).unwrap();
        let event = &content["text/event-stream; charset=utf-8"]["schema"];
        let schema = &event["properties"]["data"]["anyOf"][1]["contentSchema"];
        for options in [json!({}), json!({"include_usage": true})] {
            let asked = with(
                body.clone(),
                json!({"stream": true, "stream_options": options}),
            );
            let events = server.post(path, &asked).events();
            assert!(events.len() > 1);
            for event in &events {
                conforms(&description, schema, event).unwrap();
            }
            assert!(
                conforms(
                    &description,
                    schema,
                    &with(events[0].clone(), json!({"surprise": 1}))
                )
                .is_err()
            );
        }
    }
}

#[test]
fn tokens_are_as_described() {
    let server = Running::start();
    let description = server.get("/openapi.json").json();
    for (path, body) in [
        (
            "/tokenize",
            json!({"prompt": "Hello", "return_token_strs": true}),
        ),
        ("/detokenize", json!({"tokens": [1, 2]})),
    ] {
        let content = &description["paths"][path]["post"]["responses"]["200"]["content"];
        let value = server.post(path, &body).json();
        conforms(&description, &content["application/json"]["schema"], &value).unwrap();
    }
}

#[test]
fn statistics_and_info_are_as_described() {
    let mut setup = Setup::default();
    setup.options.api_keys.add_named("alice", "key").unwrap();
    let server = setup.start();
    let headers = [("authorization", "Bearer key")];
    let description = server.get("/openapi.json").json();
    for path in ["/stats", "/api/info"] {
        let content = &description["paths"][path]["get"]["responses"]["200"]["content"];
        let value = server.send("GET", path, &headers, b"").json();
        conforms(&description, &content["application/json"]["schema"], &value).unwrap();
    }
}
