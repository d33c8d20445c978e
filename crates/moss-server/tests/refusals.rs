//! What is refused, and how.
#![allow(clippy::unwrap_used)]

mod support;

use std::{io::Write, net::TcpStream, time::Duration};

use moss_engine::EngineOptions;
use moss_server::{Limits, Server, ServerOptions};
use serde_json::{Value, json};
use support::{JSON, Running, Setup, endless, first_text, sum, with};

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

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
fn what_is_no_request_says_where() {
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
fn prompts_longer_than_the_window_are_told_so() {
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
    let told: Value = serde_json::from_str(&reply.body).unwrap();
    let tokens = told["error"]["message"]
        .as_str()
        .unwrap()
        .split(' ')
        .find_map(|word| word.parse::<usize>().ok());
    assert!(
        told["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("`max_length` is 3, expected more than the ")
    );
    let tokens = tokens.unwrap();
    // What is told is what it takes: one more than it is enough, for one token.
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
    assert_eq!(server.get("/v1/embeddings").error().0, 404);
    assert_eq!(
        server.post("/v1/embeddings", &json!({})).error().2,
        "unknown_url"
    );
    assert_eq!(server.get("/../Cargo.toml").error().0, 404);
    let reply = server.send("DELETE", CHAT, &[], b"");
    assert_eq!(
        (reply.error().0, reply.header("allow")),
        (405, Some("post"))
    );
}

#[test]
fn bodies_are_bounded_in_size_and_kind_and_time() {
    let mut setup = Setup::default();
    setup.options.limits.body_bytes = 1000;
    setup.options.limits.body_time = Duration::from_millis(200);
    let server = setup.start();
    let reply = server.send("POST", CHAT, &[JSON], &[b' '; 1001]);
    assert_eq!(reply.error().0, 413);
    let reply = server.send(
        "POST",
        CHAT,
        &[("content-type", "text/plain")],
        sum().to_string().as_bytes(),
    );
    assert_eq!(reply.error().0, 415);
    // Ten bytes are promised, one comes.
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"POST /v1/completions HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{").unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 408"), "{answer}");
}

#[test]
fn heads_are_bounded_in_size_and_time() {
    let mut setup = Setup::default();
    setup.options.limits.header_time = Duration::from_millis(200);
    let server = setup.start();
    let large = "x".repeat(60_000);
    assert_eq!(
        server
            .send("GET", "/health", &[("x-large", &large)], b"")
            .status,
        431
    );
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\n").unwrap();
    let mut answer = Vec::new();
    // Closed, with or without a word about it, long before a client would send the rest.
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"),
        "{answer:?}"
    );
}

#[test]
fn a_full_queue_is_a_429_and_waiting_too_long_a_503() {
    let mut setup = Setup {
        pause: Duration::from_millis(20),
        ..Setup::default()
    };
    setup.engine = EngineOptions {
        max_sequences: 1,
        queue_limit: 1,
        ..setup.engine
    };
    setup.options.limits.queue_time = Some(Duration::from_millis(300));
    let server = setup.start();
    let mut running = server.lines(TEXT, &with(endless(4, 1000), json!({"stream": true})));
    first_text(&mut running);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.post(TEXT, &endless(4, 5)));
        while server.engine.metrics().waiting == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let reply = server.post(TEXT, &endless(4, 5));
        assert_eq!(
            (reply.error().0, reply.header("retry-after")),
            (429, Some("1"))
        );
        assert_eq!(
            (server.get("/health").status, server.get("/ready").status),
            (200, 200)
        );
        let reply = waiting.join().unwrap();
        assert_eq!(
            (reply.error().0, reply.error().2.as_str()),
            (503, "queue_timeout")
        );
    });
}

#[test]
fn a_server_without_its_model_is_alive_and_not_ready() {
    let server = Server::new(ServerOptions::local("moss"));
    let (address, _stop, _thread) = support::serve(server);
    let get = |path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        answer[9..12].to_owned()
    };
    assert_eq!(
        ["/health", "/ready", "/api/info", "/v1/models"].map(get),
        ["200", "503", "503", "200"]
    );
}

#[test]
fn keys_open_everything_but_health_and_the_page() {
    let mut setup = Setup::default();
    setup.options.api_keys = vec!["first".into(), "second".into()];
    let server = setup.start();
    let asked = |key: Option<&str>, path: &str| {
        let key = key.map(|key| format!("Bearer {key}"));
        let headers = key.as_deref().map(|key| ("authorization", key));
        server.send("GET", path, headers.as_slice(), b"").status
    };
    for path in ["/v1/models", "/api/info", "/metrics"] {
        let statuses = [None, Some("wrong"), Some(""), Some("first"), Some("second")]
            .map(|key| asked(key, path));
        assert_eq!(statuses, [401, 401, 401, 200, 200], "{path}");
        let spaced = [" first", "  second", " fir st"].map(|key| asked(Some(key), path));
        assert_eq!(spaced, [200, 200, 401], "{path}: one space or more");
    }
    assert!(
        ["/", "/health", "/ready", "/docs", "/openapi.json"]
            .iter()
            .all(|path| asked(None, path) == 200)
    );
    for path in [CHAT, TEXT, "/"] {
        let reply = server.post(path, &sum());
        assert_eq!(
            (reply.error().0, reply.header("www-authenticate")),
            (401, Some("bearer"))
        );
    }
}

#[test]
fn names_that_point_here_from_elsewhere_are_refused() {
    let server = Running::start();
    let asked = |host: &str| {
        server
            .send("GET", "/v1/models", &[("host", host)], b"")
            .status
    };
    assert_eq!(
        ["localhost", "LOCALHOST:1", "127.0.0.1:8888", "[::1]:80"].map(asked),
        [200; 4]
    );
    assert_eq!(
        [
            "evil.example",
            "localhost.evil.example",
            "",
            "127.0.0.1.evil:80"
        ]
        .map(asked),
        [421; 4]
    );
}

#[test]
fn other_origins_are_let_in_only_where_told() {
    let preflight = |server: &Running| {
        let headers = [
            ("origin", "https://a.example"),
            ("access-control-request-method", "POST"),
        ];
        server
            .send("OPTIONS", CHAT, &headers, b"")
            .header("access-control-allow-origin")
            .map(str::to_owned)
    };
    assert_eq!(preflight(&Running::start()), None);
    let mut setup = Setup::default();
    setup.options.cors_origins = vec!["https://a.example".into()];
    assert_eq!(
        preflight(&setup.start()).as_deref(),
        Some("https://a.example")
    );
}

#[test]
fn the_page_lets_nothing_from_elsewhere_in() {
    let server = Running::start();
    for path in ["/", "/docs"] {
        let reply = server.get(path);
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some("text/html; charset=utf-8"))
        );
        let policy = reply.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(
            !reply.body.contains("src=\"http") && !reply.body.contains("href=\"http"),
            "{path}"
        );
    }
}

#[test]
fn ids_of_requests_come_back_unless_they_could_forge_a_log() {
    let server = Running::start();
    let asked = |id: &str| {
        server
            .send("GET", "/health", &[("x-request-id", id)], b"")
            .header("x-request-id")
            .unwrap()
            .to_owned()
    };
    assert_eq!(asked("my-id.7"), "my-id.7");
    assert_ne!(asked("a b"), "a b");
    assert_eq!(asked(&"x".repeat(65)).len(), 32);
}

#[test]
fn connections_beyond_the_limit_wait_for_a_place() {
    let mut setup = Setup::default();
    setup.options.limits = Limits {
        connections: 1,
        header_time: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = setup.start();
    let idle = TcpStream::connect(server.address).unwrap();
    // The idle one is thrown out in the end, and the next has its turn.
    let began = std::time::Instant::now();
    assert_eq!(server.get("/health").status, 200);
    assert!(began.elapsed() > Duration::from_millis(200));
    drop(idle);
}
