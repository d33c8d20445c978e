//! Answers, whole and streamed.

mod logprobs;
mod published;

use std::time::Duration;

use moss_testing::http::with;
use serde_json::{Value, json};

use crate::support::{CHAT, Running, Setup, TEXT, endless, sum};

/// Returns the text of choice `index` of a stream.
fn streamed(events: &[Value], index: u64) -> String {
    let choices = events
        .iter()
        .flat_map(|event| event["choices"].as_array().unwrap());
    let own = choices.filter(|choice| choice["index"] == index);
    own.filter_map(|choice| {
        choice["delta"]["content"]
            .as_str()
            .or(choice["text"].as_str())
    })
    .collect()
}

#[test]
fn a_chat_is_answered_whole_and_streamed_alike() {
    let server = Running::start();
    let whole = server.post(CHAT, &sum()).json();
    let choice = &whole["choices"][0];
    assert_eq!(choice["message"]["content"], "3 + 4 = 7.");
    assert_eq!(
        (choice["finish_reason"].as_str(), whole["object"].as_str()),
        (Some("stop"), Some("chat.completion"))
    );
    let usage = &whole["usage"];
    assert_eq!(usage["completion_tokens"], 7);
    assert_eq!(
        usage["total_tokens"].as_u64().unwrap(),
        usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap()
    );
    let fields = json!({"stream": true, "stream_options": {"include_usage": true}});
    let events = server.post(CHAT, &with(sum(), fields)).events();
    assert_eq!(streamed(&events, 0), "3 + 4 = 7.");
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let [.., end, last] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(end["choices"][0]["finish_reason"], "stop");
    assert_eq!(last["choices"], json!([]));
    // The second request finds all full blocks of its prompt in the cache.
    let prompt = usage["prompt_tokens"].as_u64().unwrap();
    let cached = |usage: &Value| usage["prompt_tokens_details"]["cached_tokens"].as_u64();
    assert_eq!(cached(usage), Some(0));
    assert_eq!(cached(&last["usage"]), Some((prompt - 1) / 16 * 16));
    for count in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        assert_eq!(last["usage"][count], usage[count]);
    }
    assert_eq!(last["moss"]["stop_reason"], "end_of_turn");
    assert!(last["moss"]["tokens_per_s"].as_f64().unwrap() > 0.0);
    assert!(last["moss"]["time_to_first_token_s"].as_f64().unwrap() > 0.0);
    assert!(events.iter().all(|event| event["id"] == events[0]["id"]));
}

#[test]
fn streams_have_usage_only_if_requested() {
    let events = Running::start()
        .post(CHAT, &with(sum(), json!({"stream": true})))
        .events();
    assert!(
        events
            .iter()
            .all(|event| event.get("usage").is_none() && event.get("moss").is_none())
    );
}

#[test]
fn a_stop_string_split_over_tokens_ends_the_answer_before_it() {
    let server = Running::start();
    // The tokens are ` 3`, ` +`, ` 4`, ` =`, ` 7`, `.`: the string begins in one and ends in
    // another.
    let stop = with(sum(), json!({"stop": ["4 = 7", "never"]}));
    let whole = server.post(CHAT, &stop).json();
    assert_eq!(whole["choices"][0]["message"]["content"], "3 + ");
    assert_eq!(
        (
            &whole["choices"][0]["finish_reason"],
            &whole["moss"]["stop_reason"]
        ),
        (&json!("stop"), &json!("stop_string"))
    );
    let events = server
        .post(CHAT, &with(stop, json!({"stream": true})))
        .events();
    assert_eq!(streamed(&events, 0), "3 + ");
}

#[test]
fn n_answers_share_a_prompt_and_differ_by_seed_alone() {
    let server = Running::start();
    let warm = json!({"temperature": 2, "top_p": 1, "top_k": 0, "n": 3, "seed": 5});
    let asked = with(endless(20, 12), warm);
    let whole = server.post(TEXT, &asked).json();
    let text = |index: usize| whole["choices"][index]["text"].as_str().unwrap().to_owned();
    assert!(text(0) != text(1) && text(1) != text(2));
    let one = server
        .post(TEXT, &with(asked.clone(), json!({"n": 1, "seed": 6})))
        .json();
    assert_eq!(one["choices"][0]["text"], text(1).as_str());
    assert_eq!(
        whole["usage"]["prompt_tokens"], 20,
        "the prompt is counted once"
    );
    let events = server
        .post(TEXT, &with(asked, json!({"stream": true})))
        .events();
    assert!((0..3).all(|index| streamed(&events, index) == text(index as usize)));
}

#[test]
fn a_conversation_continues_after_its_messages() {
    let server = Running::start();
    let messages = json!([
        {"role": "system", "content": "You are a small model.\n"},
        {"role": "user", "content": [{"type": "text", "text": "What is "}, {"type": "text", "text": "3 + 4?"}]},
        {"role": "assistant", "content": "3 + 4 = 7."},
        {"role": "user", "content": "你好"},
    ]);
    let whole = server
        .post(
            CHAT,
            &json!({"messages": messages, "temperature": 0, "max_completion_tokens": 3}),
        )
        .json();
    assert_eq!(
        (
            &whole["usage"]["completion_tokens"],
            &whole["choices"][0]["finish_reason"]
        ),
        (&json!(3), &json!("length"))
    );
}

#[test]
fn completions_take_text_and_ids_one_and_several() {
    let server = Running::start();
    let ask = |prompt: Value| {
        server
            .post(
                TEXT,
                &json!({"prompt": prompt, "max_tokens": 5, "temperature": 0}),
            )
            .json()
    };
    let text = ask(json!("Hello"));
    let ids = server.engine.tokenizer().unwrap().encode("Hello").unwrap();
    assert_eq!(ask(json!(ids))["choices"], text["choices"]);
    let both = ask(json!(["Hello", "Hello"]));
    assert_eq!(both["choices"].as_array().unwrap().len(), 2);
    assert_eq!(both["choices"][1]["text"], text["choices"][0]["text"]);
    assert_eq!(ask(json!([ids, ids]))["choices"], both["choices"]);
}

#[test]
fn a_bias_changes_the_answer() {
    let server = Running::start();
    let ids = server.engine.tokenizer().unwrap().encode(" 3").unwrap();
    let banned = with(
        sum(),
        json!({"logit_bias": {ids[0].to_string(): -100}, "max_tokens": 1}),
    );
    assert_ne!(
        server.post(CHAT, &banned).json()["choices"][0]["message"]["content"],
        "3"
    );
}

#[test]
fn the_time_limit_ends_an_answer_and_is_the_stop_reason() {
    let setup = Setup {
        pause: Duration::from_millis(20),
        ..Default::default()
    };
    let server = setup.start();
    let long = with(endless(4, 1000), json!({"moss": {"max_time_s": 0.3}}));
    let whole = server.post(TEXT, &long).json();
    assert_eq!(
        (
            &whole["moss"]["stop_reason"],
            &whole["choices"][0]["finish_reason"]
        ),
        (&json!("time_limit"), &json!("length"))
    );
    assert!(whole["usage"]["completion_tokens"].as_u64().unwrap() < 20);
}

#[test]
fn an_answer_that_fails_ends_in_an_error_and_the_next_is_made() {
    let server = Running::start();
    let streaming = with(sum(), json!({"stream": true}));
    for passes in [0, 3] {
        server.fail_after(passes);
        assert_eq!(
            server.post(CHAT, &sum()).error(),
            (500, String::new(), "engine_error".into())
        );
        server.fail_after(passes);
        let events = server.post(CHAT, &streaming).body;
        let last = events
            .lines()
            .rfind(|line| line.starts_with("data: "))
            .unwrap();
        assert!(
            last.contains("\"code\":\"engine_error\"") && !events.contains("[DONE]"),
            "{events}"
        );
        assert_eq!(
            events.contains("\"content\":\"3\""),
            passes > 0,
            "what had come was sent: {events}"
        );
        assert_eq!(
            server.post(CHAT, &sum()).json()["choices"][0]["message"]["content"],
            "3 + 4 = 7."
        );
    }
    server.passes_until_idle();
    assert_eq!(server.engine.metrics().cache_blocks_used, 0);
}

#[test]
fn models_info_health_and_metrics_are_served() {
    let server = Running::start();
    server.post(CHAT, &sum()).json();
    assert_eq!(
        server.get("/v1/models").json()["data"][0]["id"],
        "moss-demo"
    );
    assert_eq!(server.get("/v1/models/moss-demo").json()["object"], "model");
    let info = server.get("/api/info").json();
    assert_eq!(
        (&info["context_length"], &info["defaults"]["temperature"]),
        (&json!(2048), &json!(0.7))
    );
    assert_eq!(
        (server.get("/health").status, server.get("/ready").status),
        (200, 200)
    );
    let metrics = server.get("/metrics").body;
    for line in [
        "moss_generated_tokens_total 7",
        "moss_time_to_first_token_seconds_count 1",
        "moss_time_between_tokens_seconds_count 6",
        "moss_answers_total{reason=\"end_of_turn\"} 1",
        "moss_queue_length 0",
        "moss_requests_total{route=\"/v1/chat/completions\",status=\"200\"} 1",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} is not in\n{metrics}"
        );
    }
}

#[test]
fn an_unknown_id_of_logit_bias_or_of_a_prompt_is_named() {
    let server = Running::start();
    let tokens = server.engine.tokenizer().unwrap().vocab_size();
    let rows = server.engine.model_config().vocab_size;
    assert!(tokens < rows, "there are rows without a token");
    for id in [tokens, rows - 1, rows, u32::MAX as usize] {
        let bias = json!({"logit_bias": {"5": 1, id.to_string(): -1}});
        for (path, asked) in [
            (CHAT, sum()),
            (TEXT, json!({"prompt": "a"})),
            (TEXT, json!({"prompt": "a", "stream": true})),
        ] {
            let reply = server.post(path, &with(asked, bias.clone()));
            assert_eq!(
                reply.error(),
                (400, format!("logit_bias.{id}"), "invalid_value".into())
            );
            assert!(
                reply.body.contains(&format!("token id {id}")),
                "{}",
                reply.body
            );
        }
        for prompt in [json!([5, id]), json!([[5], [5, id]])] {
            let reply = server.post(TEXT, &json!({"prompt": prompt}));
            assert_eq!(
                (reply.error().0, reply.error().2.as_str()),
                (422, "invalid_prompt")
            );
            assert!(reply.body.contains(&id.to_string()), "{}", reply.body);
        }
    }
}
