//! `serve`: addresses, keys, the log, and how it ends.

mod addresses;
mod keys;
mod log;
mod signals;

use std::{io::Read, net::TcpStream};

use moss_testing::http::with;
use serde_json::{Value, json};

use crate::support::{ok_json, server::ServerProcess};

const TEXT: &str = "/v1/completions";

/// Requests a stream of `tokens` tokens, whose end tokens are ruled out, and waits for its first
/// bytes.
fn streaming(server: &ServerProcess, tokens: usize) -> TcpStream {
    let body = json!({
        "prompt": [300, 301],
        "max_tokens": tokens,
        "logit_bias": {"2740": -100, "2700": -100},
        "stream": true,
    });
    let mut stream = server.client().open_post(TEXT, &body);
    stream.read_exact(&mut [0; 400]).unwrap();
    stream
}

fn rest(mut stream: TcpStream) -> String {
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    rest
}

#[test]
fn values_of_flags_that_would_match_nothing_are_refused_with_a_hint() {
    for (args, hint) in [
        (
            ["--cors-origin", "https://Chat.example/"],
            "`https://chat.example`",
        ),
        (
            ["--allow-host", "moss.example:8888"],
            "without scheme, port",
        ),
    ] {
        let args = [&["serve", "--demo", "--port", "0"][..], &args].concat();
        crate::support::fails(&args, &["hint: ", hint]);
    }
}

#[test]
#[cfg(debug_assertions)]
fn a_fault_that_ends_the_engine_is_reported_by_health_and_ready_and_serve_exits_with_70() {
    use crate::support::command;

    for (fault, reason) in [
        (
            "panic:3",
            "the engine stopped after an internal error: injected panic",
        ),
        ("lost:3", "CUDA_ERROR_ILLEGAL_ADDRESS"),
        ("stall:3", "the model made no progress"),
    ] {
        let args = ["serve", "--demo", "--port", "0", "--lang", "en"];
        let mut command = command(&std::env::temp_dir(), &args);
        command.env("MOSS_INJECT_FAULT", fault);
        let server = ServerProcess::start(command);
        let client = server.client();
        let probe = |path: &str| client.get(path).status;
        assert_eq!(["/health", "/ready"].map(probe), [200, 200], "{fault}");
        let body = json!({
            "prompt": [300, 301],
            "max_tokens": 900,
            "logit_bias": {"2740": -100},
            "stream": true,
        });
        let answer = rest(client.open_post(TEXT, &body));
        assert!(
            answer.contains("engine_failed") && !answer.contains("[DONE]"),
            "{fault}: {answer}"
        );
        assert_eq!(["/health", "/ready"].map(probe), [503, 503], "{fault}");
        let (status, log) = server.wait();
        assert_eq!(status.code(), Some(70), "{fault}");
        assert!(
            log.contains("error: the engine failed") && log.contains(reason),
            "{fault}: {log}"
        );
    }
}

#[test]
fn generate_and_serve_count_one_answer_alike() {
    let question = "推荐五部科幻电影";
    let greedy = ["--demo", "--temperature", "0"];
    let generated = ok_json(&[&greedy[..], &["generate", "--json", question]].concat());
    let server = ServerProcess::demo(&[]);
    let messages = json!({"messages": [{"role": "user", "content": question}]});
    let body = with(messages, json!({"temperature": 0}));
    let served = server.client().post("/v1/chat/completions", &body).json();
    let (ours, theirs) = (&generated["usage"], &served["usage"]);
    assert_eq!(ours["prompt_tokens"], theirs["prompt_tokens"]);
    assert_eq!(ours["generated_tokens"], theirs["completion_tokens"]);
    let content: &Value = &served["choices"][0]["message"]["content"];
    assert_eq!(
        generated["text"].as_str().unwrap().trim_start(),
        content.as_str().unwrap()
    );
}
