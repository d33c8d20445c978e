//! Named API keys: their owners, their counts, and their replacement while the server runs.

use std::io::Read;

use moss_server::{ApiKeys, ServedModel, Server, ServerOptions};
use moss_testing::http::{JSON, Reply, with};
use moss_text::SystemText;
use serde_json::{Value, json};

use crate::support::{CHAT, Running, Setup, TEXT, endless, sum};

const FILE: &str = "alice key-of-alice\n小红 key-of-xiaohong\nkey-without-name\n";

fn keys(text: &str) -> ApiKeys {
    let mut keys = ApiKeys::default();
    keys.add_file(text).unwrap();
    keys
}

/// Starts a server with the keys of [`FILE`].
fn start() -> (Server, Running) {
    let setup = Setup {
        options: ServerOptions {
            api_keys: keys(FILE),
            ..ServerOptions::local("moss-demo")
        },
        ..Setup::default()
    };
    let (engine, ..) = setup.engine();
    let server = Server::new(setup.options);
    let model = ServedModel::new(engine.clone(), SystemText::Published, false).unwrap();
    server.open(model).unwrap();
    (server.clone(), Running::of(server, engine))
}

fn post(server: &Running, key: &str, path: &str, body: &Value) -> Reply {
    let bearer = format!("Bearer {key}");
    let headers = [JSON, ("authorization", &bearer)];
    server.send("POST", path, &headers, body.to_string().as_bytes())
}

fn get(server: &Running, key: &str, path: &str) -> Reply {
    let bearer = format!("Bearer {key}");
    server.send("GET", path, &[("authorization", &bearer)], b"")
}

#[test]
fn requests_and_tokens_are_counted_by_the_names_of_keys() {
    let (_, server) = start();
    for (key, times) in [("key-of-alice", 2), ("key-of-xiaohong", 1)] {
        for _ in 0..times {
            post(&server, key, CHAT, &sum()).json();
        }
    }
    assert_eq!(server.get("/stats").error().0, 401);
    let stats = get(&server, "key-without-name", "/stats").json();
    let found = |name: &str| {
        let list = stats["keys"].as_array().unwrap();
        let key = list.iter().find(|key| key["name"] == name).unwrap();
        ["requests", "generated_tokens"].map(|count| key[count].as_u64().unwrap())
    };
    assert_eq!((found("alice"), found("小红")), ([2, 14], [1, 7]));
    assert_eq!(found("#1"), [1, 0], "the request for /stats itself");
    let metrics = get(&server, "key-without-name", "/metrics").body;
    for line in [
        "moss_key_requests_total{key=\"alice\"} 2",
        "moss_key_requests_total{key=\"小红\"} 1",
        "moss_key_generated_tokens_total{key=\"小红\"} 7",
        "moss_key_requests_total{key=\"#1\"} 2",
    ] {
        let is_there = metrics.lines().any(|found| found == line);
        assert!(is_there, "{line} is not in\n{metrics}");
    }
    for text in [stats.to_string(), metrics] {
        for key in ["key-of-alice", "key-of-xiaohong", "key-without-name"] {
            assert!(!text.contains(key), "{text}");
        }
    }
}

#[test]
fn a_conversation_of_the_published_api_belongs_to_its_key() {
    let (_, server) = start();
    let ask = |key: &str, uid: &Value| {
        let body = json!({"prompt": "What is 3 + 4?", "uid": uid, "temperature": 0});
        post(&server, key, "/", &body).json()
    };
    let first = ask("key-of-alice", &Value::Null);
    let uid = &first["uid"];
    let turns = |answer: &Value| answer["history"].as_array().unwrap().len();
    assert_eq!(turns(&ask("key-of-alice", uid)), 2);
    let other = ask("key-of-xiaohong", uid);
    assert_eq!(turns(&other), 1);
    assert_ne!(&other["uid"], uid);
}

#[test]
fn a_name_is_escaped_in_labels() {
    let (server, running) = start();
    server.set_api_keys(&keys("a\"b\\c{}= key")).unwrap();
    post(&running, "key", CHAT, &sum()).json();
    let metrics = get(&running, "key", "/metrics").body;
    let line = r#"moss_key_requests_total{key="a\"b\\c{}="} 2"#;
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
}

#[test]
fn without_keys_there_are_no_counts_by_key() {
    let server = Running::start();
    server.post(CHAT, &sum()).json();
    assert_eq!(server.get("/stats").json()["keys"], json!([]));
    assert!(!server.get("/metrics").body.contains("moss_key_"));
}

#[test]
fn keys_are_replaced_while_a_stream_of_a_removed_key_continues() {
    let (server, running) = start();
    let bearer = "Bearer key-of-alice";
    let body = with(endless(3, 300), json!({"stream": true})).to_string();
    let headers = [JSON, ("authorization", bearer)];
    let mut stream = running.open("POST", TEXT, &headers, body.as_bytes());
    stream.read_exact(&mut [0; 400]).unwrap();
    server
        .set_api_keys(&keys("bob key-of-bob\n小红 key-2"))
        .unwrap();
    let statuses = ["key-of-alice", "key-of-xiaohong", "key-of-bob", "key-2"]
        .map(|key| get(&running, key, "/v1/models").status);
    assert_eq!(statuses, [401, 401, 200, 200]);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.trim_end().ends_with("data: [DONE]"), "{rest}");
    assert!(server.set_api_keys(&ApiKeys::default()).is_err());
    assert_eq!(
        running.get("/v1/models").status,
        401,
        "the server stays closed"
    );
}

#[test]
fn cache_keys_are_strings_of_limited_length() {
    let server = Running::start();
    let short = json!({"max_tokens": 1, "temperature": 0});
    let (most, longer) = ("k".repeat(256), "k".repeat(257));
    for (path, body) in [
        (CHAT, with(sum(), short.clone())),
        (TEXT, with(json!({"prompt": "Hello"}), short)),
    ] {
        let ask = |fields: Value| server.post(path, &with(body.clone(), fields));
        for fields in [
            json!({"prompt_cache_key": null, "cache_salt": null}),
            json!({"prompt_cache_key": ""}),
            json!({"prompt_cache_key": most, "cache_salt": most}),
            json!({"cache_salt": "盐"}),
        ] {
            assert_eq!(ask(fields.clone()).status, 200, "{fields}");
        }
        for (field, value, status) in [
            ("prompt_cache_key", json!(longer), 422),
            ("cache_salt", json!(longer), 422),
            ("cache_salt", json!(""), 422),
            ("prompt_cache_key", json!(7), 400),
        ] {
            let reply = ask(json!({ field: value }));
            assert_eq!((reply.error().0, reply.error().1.as_str()), (status, field));
        }
    }
}

#[test]
fn statistics_have_the_build_and_the_times() {
    let server = Running::start();
    server.post(CHAT, &sum()).json();
    let stats = server.get("/stats").json();
    assert_eq!(stats["model"], "moss-demo");
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
    let times = &stats["times"];
    assert_eq!(times["queue"]["count"], 1);
    assert_eq!(times["first_token"]["count"], 1);
    assert_eq!(times["between_tokens"]["count"], 6);
    for name in ["queue", "first_token", "between_tokens"] {
        let quantiles = ["p50_s", "p90_s", "p99_s"].map(|p| times[name][p].as_f64().unwrap());
        assert!(quantiles.is_sorted() && quantiles[0] > 0.0, "{stats}");
        assert!(times[name]["mean_s"].as_f64().unwrap() >= 0.0, "{stats}");
    }
    assert_eq!(stats["totals"]["answers"], 1);
    assert_eq!(stats["totals"]["generated_tokens"], 7);
    let metrics = server.get("/metrics").body;
    let build = metrics
        .lines()
        .find(|line| line.starts_with("moss_build_info{"));
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(
        build.is_some_and(|line| line.contains(&version)),
        "{metrics}"
    );
    let last = "moss_time_to_first_token_seconds_bucket{le=\"+Inf\"} 1";
    assert!(metrics.lines().any(|line| line == last), "{metrics}");
}
