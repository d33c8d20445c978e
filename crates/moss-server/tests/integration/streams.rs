//! Concurrent streams, next to clients that disconnect and malformed requests.

use std::{io::Read, time::Duration};

use moss_engine::EngineOptions;
use moss_testing::http::{JSON, first_text, with};
use serde_json::{Value, json};

use crate::support::{CHAT, Running, Setup, TEXT};

fn question(number: usize) -> Value {
    let prompt: Vec<usize> = (0..5 + number * 7 % 60)
        .map(|index| 300 + (index * (number + 3)) % 2000)
        .collect();
    json!({"prompt": prompt, "max_tokens": 24 + number % 9, "temperature": 0, "logit_bias": {"2740": -100}})
}

fn text(server: &Running, number: usize, stream: bool) -> String {
    let reply = server.post(TEXT, &with(question(number), json!({"stream": stream})));
    if !stream {
        return reply.json()["choices"][0]["text"]
            .as_str()
            .unwrap()
            .to_owned();
    }
    let events = reply.events();
    events
        .iter()
        .map(|event| event["choices"][0]["text"].as_str().unwrap())
        .collect()
}

#[test]
fn many_streams_give_what_each_gives_alone_whatever_others_do() {
    let engine = EngineOptions {
        max_sequences: 16,
        prefill_chunk: Some(16),
        threads: Some(1),
        ..EngineOptions::default()
    };
    let server = Setup {
        engine,
        ..Setup::default()
    }
    .start();
    let alone: Vec<_> = (0..24).map(|number| text(&server, number, false)).collect();
    assert!(alone.iter().any(|text| *text != alone[0]));
    std::thread::scope(|scope| {
        for number in 0..24 {
            let (server, alone) = (&server, &alone);
            scope.spawn(move || {
                assert_eq!(
                    text(server, number, number % 2 == 0),
                    alone[number],
                    "{number}"
                )
            });
        }
        for number in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let mut lines = server.lines(
                    TEXT,
                    &with(question(number), json!({"stream": true, "max_tokens": 900})),
                );
                first_text(&mut lines); // and disconnects
            });
            scope.spawn(move || {
                let nonsense = &server.send("POST", TEXT, &[JSON], &vec![b'{'; number * 100]);
                assert_eq!(nonsense.error().0, 400);
            });
        }
    });
    server.passes_until_idle();
    let now = server.engine.metrics();
    assert_eq!((now.running, now.waiting, now.cache_blocks_used), (0, 0, 0));
}

#[test]
fn a_long_prompt_does_not_hold_up_those_who_are_being_answered() {
    let mut setup = Setup {
        pause: Duration::from_millis(10),
        ..Setup::default()
    };
    setup.engine = EngineOptions {
        prefill_chunk: Some(16),
        ..setup.engine
    };
    let server = setup.start();
    let mut lines = server.lines(
        TEXT,
        &with(question(1), json!({"stream": true, "max_tokens": 400})),
    );
    first_text(&mut lines);
    // 75 chunks, with a token of the running answer in each forward pass.
    let before = server.engine.metrics();
    let long: Vec<usize> = (0..1200).map(|index| 300 + index % 900).collect();
    server
        .post(TEXT, &json!({"prompt": long, "max_tokens": 1}))
        .json();
    let after = server.engine.metrics();
    assert!(
        after.generated_tokens - before.generated_tokens >= 75,
        "{before:?} {after:?}"
    );
    drop(lines);
}

#[test]
fn a_stream_whose_prompt_is_processed_shows_signs_of_life() {
    // A prompt of at least 5 tokens, 60 ms each.
    let mut setup = Setup {
        by_token: Duration::from_millis(60),
        ..Setup::default()
    };
    setup.options.keep_alive = Duration::from_millis(50);
    let server = setup.start();
    let mut waited = String::new();
    let asked = with(question(2), json!({"stream": true, "max_tokens": 2}));
    server
        .lines(TEXT, &asked)
        .read_to_string(&mut waited)
        .unwrap();
    assert!(
        waited.matches("\n: ").count() >= 3 && waited.trim_end().ends_with("[DONE]"),
        "{waited}"
    );
}

/// The second answer to a prompt finds the blocks of the first one, and may end before it.
#[test]
fn cached_tokens_of_several_answers_are_those_of_the_first() {
    let server = Running::start();
    let system = "Answer every question in one short and friendly sentence, please.";
    let asked = |seed: usize, stream: bool| {
        json!({
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": "What is 3 + 4?"},
            ],
            "n": 2,
            "seed": seed,
            "temperature": 2.0,
            "top_k": 0,
            "top_p": 1.0,
            "repetition_penalty": 2.0,
            "max_tokens": 40,
            "cache_salt": format!("{seed} {stream}"),
            "stream": stream,
            "logprobs": true,
        })
    };
    let tokens = |answer: &Value, index: usize| {
        let choice = &answer["choices"][index];
        choice["logprobs"]["content"].as_array().unwrap().len()
    };
    let is_second_shorter = |seed: &usize| {
        let answer = server.post(CHAT, &asked(*seed, false)).json();
        tokens(&answer, 1) + 2 < tokens(&answer, 0)
    };
    let seed = (0..100).find(is_second_shorter).unwrap();
    let usage = json!({"stream_options": {"include_usage": true}});
    let events = server.post(CHAT, &with(asked(seed, true), usage)).events();
    let usage = &events.last().unwrap()["usage"];
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);
}
