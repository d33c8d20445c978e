//! A server over the demo model, and a client that shows the bare bytes.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

pub mod scripted;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use moss_checkpoint::Checkpoint;
use moss_engine::{Engine, EngineOptions};
use moss_model::{
    CacheShape, LanguageModel, LoadOptions, Logits, ModelError, Moss, MossConfig, SequenceChunk,
};
use moss_server::{ServedModel, Server, ServerOptions};
use moss_text::{SystemText, Tokenizer};
use moss_weights::{DriverCall, KernelError};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// The demo model, which takes its time if told to, counts its passes, and fails when one is asked
/// to.
struct Paced {
    model: Moss,
    pause: Duration,
    /// For each token of a pass, besides.
    by_token: Duration,
    fault: Fault,
    passes: Arc<AtomicUsize>,
    fails_at: Arc<AtomicUsize>,
}

/// What goes wrong in the pass that fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// An error of that step alone.
    Error,
    Panic,
    /// A driver error after which the GPU's context is gone.
    DeviceLost,
    /// The pass never ends.
    Hangs,
}

impl LanguageModel for Paced {
    fn config(&self) -> &MossConfig {
        self.model.config()
    }

    fn cache_shape(&self) -> CacheShape {
        self.model.cache_shape()
    }

    fn forward(
        &mut self,
        batch: &[SequenceChunk<'_>],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Vec<Logits>, ModelError> {
        std::thread::sleep(self.pause);
        if !self.by_token.is_zero() {
            for _ in batch.iter().flat_map(|chunk| chunk.token_ids) {
                std::thread::sleep(self.by_token);
                if interrupted() {
                    return Err(ModelError::Interrupted);
                }
            }
        }
        if self.passes.fetch_add(1, SeqCst) == self.fails_at.load(SeqCst) {
            return Err(match self.fault {
                Fault::Error => ModelError::CacheFull {
                    needed_blocks: 1,
                    free_blocks: 0,
                },
                Fault::Panic => panic!("injected panic"),
                Fault::DeviceLost => {
                    let source = KernelError::Driver {
                        what: DriverCall::Synchronize,
                        code: 700,
                        message: "an illegal memory access was encountered".into(),
                    };
                    ModelError::Kernel {
                        layer: 0,
                        op: "attention",
                        source,
                    }
                }
                Fault::Hangs => loop {
                    std::thread::park();
                },
            });
        }
        self.model.forward(batch, interrupted)
    }

    fn weight_bytes_per_token(&self) -> u64 {
        self.model.weight_bytes_per_token()
    }

    fn cache_bytes_per_position(&self) -> u64 {
        self.model.cache_bytes_per_position()
    }
}

pub struct Setup {
    pub options: ServerOptions,
    pub engine: EngineOptions,
    /// Windows that the cache holds.
    pub windows: usize,
    /// Of each pass.
    pub pause: Duration,
    /// Of each token of a pass, besides.
    pub by_token: Duration,
    /// What goes wrong in the pass that fails.
    pub fault: Fault,
}

impl Default for Setup {
    fn default() -> Self {
        let engine = EngineOptions {
            threads: Some(1),
            ..EngineOptions::default()
        };
        let options = ServerOptions::local("moss-demo");
        let (pause, by_token, fault) = (Duration::ZERO, Duration::ZERO, Fault::Error);
        Self {
            options,
            engine,
            windows: 4,
            pause,
            by_token,
            fault,
        }
    }
}

pub struct Running {
    pub address: SocketAddr,
    pub engine: Arc<Engine>,
    pub passes: Arc<AtomicUsize>,
    /// The pass that fails, counted as in `passes`.
    pub fails_at: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Setup {
    pub fn engine(&self) -> (Arc<Engine>, Arc<AtomicUsize>, Arc<AtomicUsize>) {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../examples/demo/moss-demo-int4"
        );
        let checkpoint = Checkpoint::open(folder).unwrap();
        let model = Moss::load(
            &checkpoint,
            &LoadOptions::cpu(2048 * self.windows),
            &mut |_| {},
        )
        .unwrap();
        let (passes, fails_at) = (
            Arc::<AtomicUsize>::default(),
            Arc::new(AtomicUsize::new(usize::MAX)),
        );
        let paced = Paced {
            model,
            pause: self.pause,
            by_token: self.by_token,
            fault: self.fault,
            passes: passes.clone(),
            fails_at: fails_at.clone(),
        };
        let tokenizer = Tokenizer::from_folder(folder).unwrap();
        let engine = Engine::start(Box::new(paced), Some(tokenizer), self.engine.clone()).unwrap();
        (Arc::new(engine), passes, fails_at)
    }

    pub fn start(self) -> Running {
        let (engine, passes, fails_at) = self.engine();
        let server = Server::new(self.options);
        server
            .open(ServedModel::new(engine.clone(), SystemText::Published, false).unwrap())
            .unwrap();
        let mut running = Running::of(server, engine);
        (running.passes, running.fails_at) = (passes, fails_at);
        running
    }
}

/// Runs a server on a thread of its own.
pub fn serve(server: Server) -> (SocketAddr, oneshot::Sender<()>, std::thread::JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, address) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            server.serve(listener, async { drop(stopped.await) }).await;
        });
    });
    (address.recv().unwrap(), stop, thread)
}

impl Running {
    /// A server that has its model.
    pub fn of(server: Server, engine: Arc<Engine>) -> Self {
        let (address, stop, thread) = serve(server);
        let (passes, fails_at) = (Arc::default(), Arc::default());
        Self {
            address,
            engine,
            passes,
            fails_at,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn start() -> Self {
        Setup::default().start()
    }

    /// Tells the server to stop.
    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits until it has.
    pub fn wait(&mut self) {
        self.thread.take().unwrap().join().unwrap();
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[JSON], body.to_string().as_bytes())
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut stream = self.open(method, path, headers, body);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Reply::parse(&bytes)
    }

    /// Sends a request and leaves the answer in the stream. HTTP/1.0: what comes is not cut into
    /// chunks.
    pub fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut head = format!(
            "{method} {path} HTTP/1.0\r\ncontent-length: {}\r\n",
            body.len()
        );
        if !headers.iter().any(|(name, _)| *name == "host") {
            head.push_str("host: localhost\r\n");
        }
        headers
            .iter()
            .for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        let _ = stream.write_all(body); // it may be refused by its head alone
        stream
    }

    /// A streaming request, and its lines as they come.
    pub fn lines(&self, path: &str, body: &Value) -> BufReader<TcpStream> {
        BufReader::new(self.open("POST", path, &[JSON], body.to_string().as_bytes()))
    }

    /// Makes a later pass fail, once so many more have gone well.
    pub fn fail_after(&self, passes: usize) {
        self.fails_at
            .store(self.passes.load(SeqCst) + passes, SeqCst);
    }

    /// Passes of the model that follow, until it has rested for a while.
    pub fn passes_until_rest(&self) -> usize {
        let (before, began) = (self.passes.load(SeqCst), Instant::now());
        let mut seen = before;
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let now = self.passes.load(SeqCst);
            if now == seen {
                return now - before;
            }
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "the model never rests"
            );
            seen = now;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

pub const JSON: (&str, &str) = ("content-type", "application/json");

pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no head in {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The body of an answer that must be good.
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }

    /// Status, field at fault and code of an error in OpenAI's form.
    pub fn error(&self) -> (u16, String, String) {
        let body: Value =
            serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}", self.body));
        let error = &body["error"];
        assert!(
            error["message"].is_string() && error["type"].is_string(),
            "{body}"
        );
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        (self.status, text(&error["param"]), text(&error["code"]))
    }

    /// The events of a stream, without the last `[DONE]`, which must be there.
    pub fn events(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.body);
        let mut data: Vec<_> = self
            .body
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .collect();
        assert_eq!(data.pop(), Some("[DONE]"));
        data.into_iter()
            .map(|event| serde_json::from_str(event).unwrap())
            .collect()
    }
}

/// A question whose best answer is known.
pub fn sum() -> Value {
    json!({"messages": [{"role": "user", "content": "What is 3 + 4?"}], "temperature": 0})
}

/// A completion that goes on for as many tokens as it is given: its end is ruled out.
pub fn endless(prompt_tokens: usize, max_tokens: usize) -> Value {
    let prompt: Vec<usize> = (0..prompt_tokens).map(|index| 300 + index % 900).collect();
    json!({"prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "logit_bias": {"2740": -100, "2700": -100}})
}

/// `base` with other or more fields.
pub fn with(mut base: Value, fields: Value) -> Value {
    base.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    base
}

/// Reads lines until one is an event with text.
pub fn first_text(lines: &mut BufReader<TcpStream>) {
    let mut line = String::new();
    while !line.contains("\"text\":\"") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the stream ended");
    }
}
