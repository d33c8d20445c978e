//! Ten minutes of up to 64 clients, some of which disconnect or send malformed requests, with
//! everything that shares work between requests: cached prefixes, drafts, preemption and keys.
//!
//! `cargo test --release -p moss-server soak -- --ignored --nocapture --test-threads 1`; the variable
//! SOAK_SECONDS sets another time.

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use moss_engine::{Engine, EngineOptions, Speculation};
use moss_model::KvCacheType;
use moss_server::{ApiKeys, ServedModel, Server, ServerOptions};
use moss_testing::http::{JSON, Reply, with};
use moss_text::SystemText;
use serde_json::{Value, json};

use crate::support::{CHAT, Running, Setup, TEXT};

const CLIENTS: usize = 64;
/// Clients that never pause. While the others do, sequences have drafts.
const FEW: usize = 2;
/// Questions of which clients ask one each time.
const QUESTIONS: usize = 120;
const KEYS: [&str; 3] = ["key-of-alice", "key-of-bob", "key-without-name"];
/// Growth of the resident memory that is not a leak: pools and arenas of many threads.
const GROWTH_MIB: usize = 24;

/// Ten minutes, or the seconds in the variable SOAK_SECONDS.
fn duration() -> Duration {
    let seconds = std::env::var("SOAK_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(600))
}

pub(crate) fn ids(number: usize) -> Vec<u32> {
    (0..5 + number * 7 % 90)
        .map(|index| (300 + (index * (number + 3)) % 2000) as u32)
        .collect()
}

pub(crate) fn question(number: usize) -> Value {
    json!({"prompt": ids(number), "max_tokens": 16 + number % 48, "temperature": 0, "logit_bias": {"2740": -100}})
}

/// Returns the path and the body of a question: long answers without drafts, text that repeats
/// itself, and chats under the system prompt of the server.
fn mixed(number: usize) -> (&'static str, Value) {
    let (path, body) = match number % 4 {
        0 => (
            TEXT,
            with(question(number), json!({"max_tokens": 150 + number})),
        ),
        1 => (TEXT, question(number)),
        2 => {
            let prompt: Vec<u32> = (0..40).map(|index| 400 + index % 6).collect();
            let prompt = [&ids(number)[..5], &prompt].concat();
            (TEXT, json!({"prompt": prompt, "max_tokens": 64}))
        }
        _ => {
            let text = format!(
                "What is {number} + 4? {}",
                "Please answer. ".repeat(number % 9)
            );
            let messages = json!([{"role": "user", "content": text}]);
            (CHAT, json!({"messages": messages, "max_tokens": 40}))
        }
    };
    let temperature = [0.0, 0.3, 1.0, 2.0][number / 4 % 4];
    let mut fields = json!({"temperature": temperature, "seed": number});
    match number / 4 % 7 {
        0 => fields["n"] = json!(2),
        1 => fields["stop"] = json!(["e", "。"]),
        2 => fields["logprobs"] = if path == CHAT { json!(true) } else { json!(2) },
        3 => fields["top_k"] = json!(0),
        4 => fields["repetition_penalty"] = json!(2.0),
        5 => fields["presence_penalty"] = json!(0.7),
        _ => {}
    }
    (path, with(body, fields))
}

/// Returns the texts of the choices of an answer.
fn texts(choices: &Value) -> Vec<String> {
    let choices = choices.as_array().unwrap().iter();
    let text = |choice: &Value| match &choice["text"] {
        Value::String(text) => text.clone(),
        _ => choice["message"]["content"].as_str().unwrap().to_owned(),
    };
    choices.map(text).collect()
}

/// Returns the texts of the choices of a stream.
fn streamed(events: &[Value], count: usize) -> Vec<String> {
    let mut texts = vec![String::new(); count];
    let choices = events
        .iter()
        .filter_map(|event| event["choices"].as_array());
    for choice in choices.flatten() {
        let text = choice["text"].as_str();
        let text = text.or_else(|| choice["delta"]["content"].as_str());
        texts[choice["index"].as_u64().unwrap() as usize].push_str(text.unwrap_or_default());
    }
    texts
}

/// Returns the resident memory of this process in MiB.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    (pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096) >> 20
}

#[derive(Debug, Default)]
struct Counts {
    /// Requests that were answered completely, and those whose answer differs from that alone.
    answered: AtomicUsize,
    wrong: AtomicUsize,
    abandoned: AtomicUsize,
    refused: AtomicUsize,
    /// Status 429 or 503.
    busy: AtomicUsize,
    faults: AtomicUsize,
}

fn add(count: &AtomicUsize) {
    count.fetch_add(1, Relaxed);
}

/// A server with keys.
struct Keyed {
    server: Server,
    running: Running,
    engine: Arc<Engine>,
}

fn keys() -> ApiKeys {
    let mut keys = ApiKeys::default();
    let [alice, bob, other] = KEYS;
    keys.add_named("alice", alice).unwrap();
    keys.add_named("bob", bob).unwrap();
    keys.add(other).unwrap();
    keys
}

impl Keyed {
    fn start(deterministic: bool, kv_cache: KvCacheType) -> Self {
        let engine = EngineOptions {
            max_sequences: 24,
            max_per_owner: Some(12),
            queue_limit: 48,
            threads: Some(2),
            speculation: Speculation::Drafts(3),
            deterministic,
            ..EngineOptions::default()
        };
        let setup = Setup {
            engine,
            contexts: 1, // too few blocks for all sequences: some are preempted
            kv_cache,
            ..Setup::default()
        };
        let (engine, ..) = setup.engine();
        let server = Server::new(ServerOptions {
            api_keys: keys(),
            ..ServerOptions::local("moss-demo")
        });
        let model = ServedModel::new(engine.clone(), SystemText::Published, false).unwrap();
        server.open(model).unwrap();
        let running = Running::of(server.clone(), engine.clone());
        Self {
            server,
            running,
            engine,
        }
    }

    fn send(&self, key: usize, method: &str, path: &str, body: &[u8]) -> Reply {
        let bearer = format!("Bearer {}", KEYS[key % 3]);
        let headers = [JSON, ("authorization", &bearer)];
        self.running.send(method, path, &headers, body)
    }

    /// Returns the answers to all questions, each alone and without cached tokens of others.
    fn alone(&self) -> Vec<Vec<String>> {
        let ask = |number: usize| {
            let (path, body) = mixed(number);
            let body = with(body, json!({"cache_salt": format!("alone {number}")}));
            let reply = self.send(number, "POST", path, body.to_string().as_bytes());
            texts(&reply.json()["choices"])
        };
        (0..QUESTIONS).map(ask).collect()
    }

    /// Sends one request, of a client that sometimes disconnects or sends nonsense.
    fn one(&self, alone: &[Vec<String>], counts: &Counts, turn: usize) {
        let (number, key) = ((turn >> 8) % QUESTIONS, turn >> 4);
        let stream = !turn.is_multiple_of(3);
        let (path, body) = mixed(number);
        let body = with(body, json!({"stream": stream})).to_string();
        match (turn >> 16) % 12 {
            0 | 1 => {
                let bearer = format!("Bearer {}", KEYS[key % 3]);
                let headers = [JSON, ("authorization", &bearer)];
                let open = self.running.open("POST", path, &headers, body.as_bytes());
                let wait = Duration::from_millis((turn % 50) as u64);
                open.set_read_timeout(Some(wait.max(Duration::from_millis(1))))
                    .unwrap();
                let _ = (&open).read(&mut [0; 300]);
                add(&counts.abandoned);
            }
            2 => {
                let status = match turn % 5 {
                    0 => self.send(key, "POST", path, &body.as_bytes()[..turn % body.len()]),
                    1 => self.running.post(path, &json!({"prompt": "no key"})),
                    2 => self.send(key, "POST", TEXT, br#"{"prompt": [4000000000]}"#),
                    3 => self.send(key, "POST", CHAT, br#"{"messages": [], "n": 99}"#),
                    _ => {
                        let long = json!({"prompt": vec![300; 2048]}).to_string();
                        self.send(key, "POST", TEXT, long.as_bytes())
                    }
                };
                let is_refused = matches!(status.status, 400 | 401 | 422);
                add(if is_refused {
                    &counts.refused
                } else {
                    &counts.faults
                });
            }
            3 => {
                let path = ["/stats", "/metrics", "/v1/models"][turn % 3];
                if self.send(key, "GET", path, b"").status != 200 {
                    add(&counts.faults);
                }
                self.server.set_api_keys(&keys()).unwrap();
            }
            _ => {
                let reply = self.send(key, "POST", path, body.as_bytes());
                let expected = &alone[number];
                let found = match reply.status {
                    200 if stream => streamed(&reply.events(), expected.len()),
                    200 => texts(&reply.json()["choices"]),
                    429 | 503 => {
                        std::thread::sleep(Duration::from_millis(50));
                        return add(&counts.busy);
                    }
                    _ => return add(&counts.faults),
                };
                add(&counts.answered);
                if found != *expected {
                    eprintln!("question {number}: {found:?}, alone {expected:?}");
                    add(&counts.wrong);
                }
            }
        }
    }

    /// Checks that all counters agree once nothing runs.
    fn check_metrics(&self) {
        let now = self.engine.metrics();
        let text = self.send(0, "GET", "/metrics", b"").body;
        let sum = |name: &str| -> u64 {
            let lines = text.lines().filter_map(|line| line.strip_prefix(name));
            let values = lines.filter(|rest| rest.starts_with(['{', ' ']));
            let values = values.map(|rest| rest.rsplit(' ').next().unwrap().parse::<u64>());
            values.map(Result::unwrap).sum()
        };
        let totals = &self.send(0, "GET", "/stats", b"").json()["totals"];
        for (name, engine) in [
            ("generated_tokens", now.generated_tokens),
            ("cached_tokens", now.reused_tokens),
            ("drafted_tokens", now.drafted_tokens),
            ("accepted_tokens", now.accepted_tokens),
            ("preemptions", now.preemptions),
        ] {
            let counted = sum(&format!("moss_{name}_total"));
            assert_eq!((counted, &totals[name]), (engine, &json!(engine)), "{name}");
        }
        for name in ["prompt_tokens", "cached_tokens", "generated_tokens"] {
            let of_keys = sum(&format!("moss_key_{name}_total"));
            assert_eq!(of_keys, sum(&format!("moss_{name}_total")), "{name}");
        }
        assert_eq!(sum("moss_answers_total"), now.requests);
        assert_eq!(totals["answers"], json!(now.requests));
        assert!(now.accepted_tokens <= now.drafted_tokens, "{now:?}");
        assert!(now.drafted_tokens > 0 && now.reused_requests > 0, "{now:?}");
    }
}

/// Runs clients for a time. Returns samples of the resident memory, and the number of preemptions.
fn run(server: &Keyed, counts: &Counts, time: Duration) -> (Vec<usize>, u64) {
    let alone = server.alone();
    let begin = Instant::now();
    let is_over = || begin.elapsed() >= time;
    let mut memory = Vec::new();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let alone = &alone;
            scope.spawn(move || {
                let mut turn = client;
                while begin.elapsed() < time {
                    let quarter = 4 * begin.elapsed().as_millis() / time.as_millis();
                    if client >= FEW && quarter % 2 == 1 {
                        std::thread::sleep(Duration::from_millis(20));
                        continue;
                    }
                    turn = turn.wrapping_mul(1_103_515_245).wrapping_add(12_345) % (1 << 31);
                    server.one(alone, counts, turn);
                }
            });
        }
        while !is_over() {
            memory.push(resident());
            std::thread::sleep(time / 20);
        }
    });
    server.running.passes_until_idle();
    memory.push(resident());
    (memory, server.engine.metrics().preemptions)
}

#[test]
#[ignore = "ten minutes"]
fn ten_minutes_of_clients_lose_nothing_and_leave_nothing_behind() {
    let (counts, mut ends, mut preemptions) = (Counts::default(), Vec::new(), 0);
    let rounds = [
        (false, KvCacheType::Native),
        (true, KvCacheType::Int8),
        (false, KvCacheType::Int8),
        (true, KvCacheType::Native),
    ];
    for (deterministic, kv_cache) in rounds {
        let server = Keyed::start(deterministic, kv_cache);
        let (memory, preempted) = run(&server, &counts, duration() / rounds.len() as u32);
        eprintln!(
            "deterministic {deterministic}, {kv_cache:?}: {counts:?}, resident MiB {memory:?}, {:?}",
            server.engine.metrics()
        );
        assert_eq!(counts.wrong.load(Relaxed), 0);
        assert_eq!(counts.faults.load(Relaxed), 0);
        server.check_metrics();
        preemptions += preempted;
        // In the first fifth of the time, pools and arenas grow.
        let (early, last) = (memory[memory.len() / 5], memory[memory.len() - 1]);
        assert!(
            last <= early + GROWTH_MIB,
            "memory grew from {early} to {last} MiB"
        );
        ends.push(last);
    }
    assert!(counts.answered.load(Relaxed) > 0 && preemptions > 0);
    let (first, last) = (ends[0], ends[rounds.len() - 1]);
    assert!(
        last <= first + GROWTH_MIB,
        "memory grew from round to round: {ends:?}"
    );
}
