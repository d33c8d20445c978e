//! `POST /tokenize`, `POST /detokenize`, and `POST /v1/embeddings`.

use moss_testing::http::with;
use serde_json::{Value, json};

use crate::support::{CHAT, Running, TEXT, sum};

const TOKENIZE: &str = "/tokenize";
const DETOKENIZE: &str = "/detokenize";

/// Returns the status and the message of an error.
fn refused(server: &Running, path: &str, body: &Value) -> (u16, String) {
    let reply = server.post(path, body);
    let error: Value = serde_json::from_str(&reply.body).unwrap();
    let message = error["error"]["message"].as_str().unwrap();
    (reply.status, message.to_owned())
}

#[test]
fn text_is_encoded_and_decoded_to_the_same_text() {
    let server = Running::start();
    for text in [
        "",
        "Hello, MOSS!",
        "你好，世界 🌍👩‍🚀",
        " \n\t<eoh>",
        "a\u{0}b",
    ] {
        let encoded = server.post(TOKENIZE, &json!({"prompt": text})).json();
        assert_eq!(
            encoded["count"],
            encoded["tokens"].as_array().unwrap().len()
        );
        assert!(encoded["max_model_len"].as_u64().unwrap() > 0 && encoded["token_strs"].is_null());
        let decoded = server.post(DETOKENIZE, &json!({"tokens": encoded["tokens"]}));
        assert_eq!(decoded.json()["prompt"], text);
    }
}

#[test]
fn tokens_have_their_text_on_request() {
    let server = Running::start();
    let asked =
        json!({"prompt": "Hi there<eoh>", "return_token_strs": true, "add_special_tokens": true});
    let texts = server.post(TOKENIZE, &asked).json()["token_strs"].clone();
    let texts: Vec<_> = texts
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect();
    assert_eq!(
        (texts.concat().as_str(), *texts.last().unwrap()),
        ("Hi there<eoh>", "<eoh>")
    );
}

#[test]
fn a_conversation_has_the_tokens_of_its_prompt() {
    let server = Running::start();
    let encoded = server
        .post(TOKENIZE, &json!({"messages": sum()["messages"]}))
        .json();
    let chat = server.post(CHAT, &sum()).json();
    assert_eq!(encoded["count"], chat["usage"]["prompt_tokens"]);
    // The prompt as text continues like the conversation.
    let text = json!({"prompt": encoded["tokens"], "max_tokens": 8, "temperature": 0});
    let text = server.post(TEXT, &text).json()["choices"][0]["text"].clone();
    let answer = chat["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.as_str().unwrap().contains(answer), "{text} {answer}");
}

#[test]
fn invalid_requests_say_what_is_expected() {
    let server = Running::start();
    let (status, message) = refused(&server, TOKENIZE, &json!({}));
    assert!(
        status == 400 && message.contains("`prompt` or `messages`"),
        "{message}"
    );
    let both = with(sum(), json!({"prompt": "Hello"}));
    let (status, message) = refused(&server, TOKENIZE, &both);
    assert!(
        status == 400 && message.contains("together with `prompt`"),
        "{message}"
    );
    let without_start = json!({"messages": sum()["messages"], "add_generation_prompt": false});
    let (status, message) = refused(&server, TOKENIZE, &without_start);
    assert!(
        status == 400 && message.contains("expected true"),
        "{message}"
    );
    let (status, message) = refused(
        &server,
        DETOKENIZE,
        &json!({"tokens": [5, 4_000_000_000_u32]}),
    );
    assert!(
        (400..500).contains(&status) && message.contains("4000000000"),
        "{status} {message}"
    );
    for (path, body) in [
        (TOKENIZE, json!({"prompt": "Hello", "model": "gpt-4"})),
        (DETOKENIZE, json!({"tokens": [], "model": "gpt-4"})),
    ] {
        assert_eq!(refused(&server, path, &body).0, 404);
    }
    for body in [json!({"tokens": [-1]}), json!({"tokens": "x"}), json!({})] {
        assert_eq!(refused(&server, DETOKENIZE, &body).0, 400);
    }
}

#[test]
fn embeddings_are_refused_with_the_reason() {
    let server = Running::start();
    let body = json!({"model": "moss", "input": "Hello"});
    let (status, message) = refused(&server, "/v1/embeddings", &body);
    assert!(
        status == 400 && message.contains("embedding model"),
        "{message}"
    );
}
