//! Servers over the demo model or a scripted one.

mod paced;
pub(crate) mod scripted;

use std::{
    net::SocketAddr,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use moss_checkpoint::Checkpoint;
use moss_engine::{Engine, EngineOptions, Speculation};
use moss_model::{KvCacheType, LoadOptions, Moss};
use moss_server::{ServedModel, Server, ServerOptions};
use moss_testing::{demo, http::Client, model::Fault};
use moss_text::{SystemText, Tokenizer};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use paced::Paced;

pub(crate) const CHAT: &str = "/v1/chat/completions";
pub(crate) const TEXT: &str = "/v1/completions";

/// A server over the demo model.
pub(crate) struct Setup {
    pub(crate) options: ServerOptions,
    pub(crate) engine: EngineOptions,
    /// Size of the KV cache, in contexts of 2048 tokens.
    pub(crate) contexts: usize,
    pub(crate) kv_cache: KvCacheType,
    /// Added to each forward pass.
    pub(crate) pause: Duration,
    /// Added to each forward pass for each of its tokens.
    pub(crate) by_token: Duration,
    /// The fault of the pass that [`Running::fail_after`] chooses.
    pub(crate) fault: Fault,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            options: ServerOptions::local("moss-demo"),
            engine: EngineOptions {
                threads: Some(1),
                speculation: Speculation::Off, // the number of passes is known
                ..EngineOptions::default()
            },
            contexts: 4,
            kv_cache: KvCacheType::Native,
            pause: Duration::ZERO,
            by_token: Duration::ZERO,
            fault: Fault::Error,
        }
    }
}

impl Setup {
    /// Starts the engine alone. Returns it with its counter of passes and the pass that fails.
    pub(crate) fn engine(&self) -> (Arc<Engine>, Arc<AtomicUsize>, Arc<AtomicUsize>) {
        let folder = demo("moss-demo-int4");
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let options = LoadOptions {
            kv_cache: self.kv_cache,
            ..LoadOptions::cpu(2048 * self.contexts)
        };
        let model = Moss::load(&checkpoint, &options, &mut |_| {}).unwrap();
        let passes = Arc::<AtomicUsize>::default();
        let fails_at = Arc::new(AtomicUsize::new(usize::MAX));
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

    pub(crate) fn start(self) -> Running {
        let (engine, passes, fails_at) = self.engine();
        let server = Server::new(self.options);
        let model = ServedModel::new(engine.clone(), SystemText::Published, false).unwrap();
        server.open(model).unwrap();
        let mut running = Running::of(server, engine);
        (running.passes, running.fails_at) = (passes, fails_at);
        running
    }
}

/// Runs a server on a new thread. Returns its address and the sender that stops it.
pub(crate) fn serve(server: Server) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let (send_address, address) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            send_address.send(listener.local_addr().unwrap()).unwrap();
            server.serve(listener, async { drop(stopped.await) }).await;
        });
    });
    (address.recv().unwrap(), stop, thread)
}

/// A server that runs until it is dropped, and its client.
pub(crate) struct Running {
    client: Client,
    pub(crate) engine: Arc<Engine>,
    /// Forward passes of the model so far.
    pub(crate) passes: Arc<AtomicUsize>,
    /// The pass that fails, counted as in `passes`.
    fails_at: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Deref for Running {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Running {
    /// Runs a server whose model is open.
    pub(crate) fn of(server: Server, engine: Arc<Engine>) -> Self {
        let (address, stop, thread) = serve(server);
        Self {
            client: Client { address },
            engine,
            passes: Arc::default(),
            fails_at: Arc::default(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn start() -> Self {
        Setup::default().start()
    }

    /// Starts the shutdown of the server.
    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits until the server has shut down.
    pub(crate) fn wait(&mut self) {
        self.thread.take().unwrap().join().unwrap();
    }

    /// Lets a later forward pass fail, after `passes` successful ones.
    pub(crate) fn fail_after(&self, passes: usize) {
        self.fails_at
            .store(self.passes.load(SeqCst) + passes, SeqCst);
    }

    /// Waits until no request is running or waiting, and returns the number of forward passes until
    /// then.
    pub(crate) fn passes_until_idle(&self) -> usize {
        let (before, start) = (self.passes.load(SeqCst), Instant::now());
        while !self.is_idle() {
            assert!(
                start.elapsed() < Duration::from_secs(120),
                "{:?}",
                self.engine.metrics()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        self.passes.load(SeqCst) - before
    }

    /// Returns true if no request is running or waiting and the KV cache is empty.
    pub(crate) fn is_idle(&self) -> bool {
        let now = self.engine.metrics();
        (now.running, now.waiting, now.cache_blocks_used) == (0, 0, 0)
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

/// A chat request whose greedy answer is known: "3 + 4 = 7."
pub(crate) fn sum() -> Value {
    json!({"messages": [{"role": "user", "content": "What is 3 + 4?"}], "temperature": 0})
}

/// A completion request that generates `max_tokens` tokens: its end tokens are ruled out.
pub(crate) fn endless(prompt_tokens: usize, max_tokens: usize) -> Value {
    let prompt: Vec<usize> = (0..prompt_tokens).map(|index| 300 + index % 900).collect();
    json!({
        "prompt": prompt,
        "max_tokens": max_tokens,
        "temperature": 0,
        "logit_bias": {"2740": -100, "2700": -100},
    })
}
