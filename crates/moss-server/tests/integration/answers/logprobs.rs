//! Log probabilities of tokens.

use moss_testing::http::with;
use moss_text::Specials;
use serde_json::{Value, json};

use crate::support::{CHAT, Running, TEXT, sum};

#[test]
fn likelihoods_come_with_each_token_in_both_forms() {
    let server = Running::start();
    let asked = with(sum(), json!({"logprobs": true, "top_logprobs": 3}));
    let whole = server.post(CHAT, &asked).json();
    let tokens = whole["choices"][0]["logprobs"]["content"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(
        tokens.len(),
        6,
        "the token that ends the answer is not listed"
    );
    let bytes = tokens
        .iter()
        .flat_map(|token| token["bytes"].as_array().unwrap());
    let bytes: Vec<u8> = bytes.map(|byte| byte.as_u64().unwrap() as u8).collect();
    assert_eq!(String::from_utf8(bytes).unwrap(), "3 + 4 = 7.");
    for token in &tokens {
        let top = token["top_logprobs"].as_array().unwrap();
        assert_eq!(
            (top.len(), &top[0]["token"]),
            (3, &token["token"]),
            "greedy takes the likeliest"
        );
        assert!(token["logprob"].as_f64().unwrap() <= 0.0);
    }
    let events = server
        .post(CHAT, &with(asked, json!({"stream": true})))
        .events();
    let choices = events
        .iter()
        .flat_map(|event| event["choices"].as_array().unwrap());
    let streamed: Vec<_> = choices
        .filter_map(|choice| choice["logprobs"]["content"].as_array())
        .flatten()
        .cloned()
        .collect();
    assert_eq!(streamed, tokens);
    let older = server
        .post(
            TEXT,
            &json!({"prompt": "Hello", "max_tokens": 4, "logprobs": 2, "temperature": 0}),
        )
        .json();
    let logprobs = &older["choices"][0]["logprobs"];
    let count = older["usage"]["completion_tokens"].as_u64().unwrap() as usize;
    // the token that ends the text is not listed
    let count = count - usize::from(older["choices"][0]["finish_reason"] == "stop");
    for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(logprobs[list].as_array().unwrap().len(), count, "{list}");
    }
    assert_eq!(logprobs["text_offset"][0], 0);
}

/// Returns the text of a choice's tokens and, for chats, their bytes.
fn text_and_bytes(choice: &Value) -> (String, Option<Vec<u8>>) {
    let logprobs = &choice["logprobs"];
    if let Some(tokens) = logprobs["tokens"].as_array() {
        // Offsets count from the beginning of the whole text, also in a chunk of a stream.
        let offsets = logprobs["text_offset"].as_array().unwrap();
        let offset = |at: usize| offsets[at].as_u64().unwrap() as usize;
        let mut characters = 0;
        for (at, token) in tokens.iter().enumerate() {
            characters += token.as_str().unwrap().chars().count();
            assert!(offset(at) - offset(0) <= characters, "{choice}");
        }
        return (
            tokens.iter().map(|token| token.as_str().unwrap()).collect(),
            None,
        );
    }
    let Some(tokens) = logprobs["content"].as_array() else {
        return Default::default();
    };
    let text = tokens
        .iter()
        .map(|token| token["token"].as_str().unwrap())
        .collect();
    let bytes = tokens
        .iter()
        .flat_map(|token| token["bytes"].as_array().unwrap());
    (
        text,
        Some(bytes.map(|byte| byte.as_u64().unwrap() as u8).collect()),
    )
}

/// Checks that the logprobs of a choice, or of a chunk of one, are those of its text, and returns
/// the text.
fn matched(choice: &Value) -> String {
    let texts = [
        &choice["message"]["content"],
        &choice["delta"]["content"],
        &choice["text"],
    ];
    let text = texts
        .iter()
        .find_map(|text| text.as_str())
        .unwrap_or_default()
        .to_owned();
    let (tokens, bytes) = text_and_bytes(choice);
    assert_eq!(tokens, text, "{choice}");
    assert!(
        bytes.is_none_or(|bytes| bytes == text.as_bytes()),
        "{choice}"
    );
    text
}

#[test]
fn logprobs_match_the_content_whole_and_streamed_with_stop_strings_and_split_characters() {
    let server = Running::start();
    // Nearly uniform sampling gives parts of characters, malformed and Chinese characters, and
    // tokens that a stop string truncates.
    let wild = json!({"temperature": 2, "top_p": 1, "top_k": 0, "max_tokens": 40});
    let chat = |words: &str| json!({"messages": [{"role": "user", "content": words}], "logprobs": true, "top_logprobs": 2});
    let text = |words: &str| json!({"prompt": words, "logprobs": 2});
    let (mut cut, mut wide) = (0, 0);
    for seed in 0..6 {
        for (path, base) in [
            (CHAT, chat("你好")),
            (TEXT, text("你")),
            (CHAT, chat("What is 3 + 4?")),
            (TEXT, text("Hello")),
        ] {
            for stop in [
                json!([]),
                json!(["a", "的", "e", "，"]),
                json!(["7.", " = 7", "never to be seen"]),
            ] {
                let mut asked = with(base.clone(), json!({"seed": seed, "stop": stop}));
                if seed > 0 {
                    asked = with(asked, wild.clone());
                } else {
                    asked = with(asked, json!({"temperature": 0, "max_tokens": 40}));
                }
                let whole = server.post(path, &asked).json();
                let content = matched(&whole["choices"][0]);
                cut += usize::from(whole["moss"]["stop_reason"] == "stop_string");
                wide += usize::from(content.chars().any(|c| ('一'..='龥').contains(&c)));
                let events = server
                    .post(path, &with(asked, json!({"stream": true})))
                    .events();
                let pieces = events.iter().map(|event| matched(&event["choices"][0]));
                assert_eq!(pieces.collect::<String>(), content);
            }
        }
    }
    assert!(cut > 5 && wide > 5, "{cut} cut, {wide} with Chinese");
    // A token that is only a part of a character, repeatedly.
    let tokenizer = server.engine.tokenizer().unwrap();
    let part = (0..256u32)
        .find(|id| {
            tokenizer
                .decode(&[*id], Specials::Show)
                .contains('\u{FFFD}')
        })
        .unwrap();
    for (path, base) in [(CHAT, chat("你好")), (TEXT, text("你"))] {
        let forced =
            json!({"temperature": 0, "max_tokens": 6, "logit_bias": {part.to_string(): 100}});
        let asked = with(base, forced);
        let whole = server.post(path, &asked).json();
        let content = matched(&whole["choices"][0]);
        assert!(content.contains('\u{FFFD}'), "{content}");
        let events = server
            .post(path, &with(asked, json!({"stream": true})))
            .events();
        let pieces = events.iter().map(|event| matched(&event["choices"][0]));
        assert_eq!(pieces.collect::<String>(), content);
    }
}
