//! Servers over a model that follows a script, and counts the tokens that it processes.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use moss_engine::{Engine, EngineOptions, Speculation};
use moss_plugins::Plugins;
use moss_server::{ServedModel, Server, ServerOptions};
use moss_testing::{demo, model::ScriptedModel};
use moss_text::{SystemText, Tokenizer};

use super::Running;

pub(crate) const SEARCHING: &str =
    "<|Inner Thoughts|>: 要查一下<eot>\n<|Commands|>: Search(\"天气\")<eoc>";
pub(crate) const IDLE: &str = "<|Inner Thoughts|>: 打个招呼<eot>\n<|Commands|>: None<eoc>";
pub(crate) const ANSWER: &str = " 今天晴。<eom>";

/// A model that generates `turn` after a user message, and [`ANSWER`] after results.
pub(crate) struct Script {
    pub(crate) turn: &'static str,
    pub(crate) has_plugins: bool,
    pub(crate) context_length: usize,
    /// The tokens in the cache: the prompt, and those generated and processed since.
    pub(crate) seen: Arc<Mutex<Vec<u32>>>,
    /// Tokens processed, prompts included.
    pub(crate) processed: Arc<AtomicUsize>,
}

impl Script {
    pub(crate) fn plugins(turn: &'static str) -> Self {
        Self {
            turn,
            has_plugins: true,
            context_length: 2048,
            seen: Arc::default(),
            processed: Arc::default(),
        }
    }

    /// A model without plugins, which answers at once.
    pub(crate) fn plain() -> Self {
        Self {
            has_plugins: false,
            ..Self::plugins(ANSWER)
        }
    }

    /// A model without plugins that ends every reply at once.
    pub(crate) fn silent() -> Self {
        Self {
            has_plugins: false,
            ..Self::plugins("<eom>")
        }
    }

    /// Starts an engine that runs one sequence at a time.
    pub(crate) fn engine(&self, tokenizer: Tokenizer) -> Arc<Engine> {
        let (seen, processed) = (self.seen.clone(), self.processed.clone());
        let next = self.next_token();
        let record = move |history: &[u32]| {
            *seen.lock().unwrap() = history.to_vec();
            next(history)
        };
        let mut model =
            ScriptedModel::new(tokenizer.vocab_size(), 2048, record).before(move |tokens| {
                processed.fetch_add(tokens, SeqCst);
            });
        model.config.context_length = self.context_length;
        let options = EngineOptions {
            max_sequences: 1,
            threads: Some(1),
            speculation: Speculation::Off, // rejected drafts would be in `seen`
            ..EngineOptions::default()
        };
        Arc::new(Engine::start(Box::new(model), Some(tokenizer), options).unwrap())
    }

    /// Returns the function from a history to the next token of the script.
    fn next_token(&self) -> impl Fn(&[u32]) -> u32 + Send + 'static {
        let tokenizer = tokenizer();
        let special = tokenizer.special().unwrap();
        let ids = |text: &str| tokenizer.encode(text).unwrap();
        let label = ids("\n<|MOSS|>:").len();
        let before_turn = if self.has_plugins {
            ids("\n").len()
        } else {
            label
        };
        let (turn, answer) = (ids(self.turn), ids(ANSWER));
        move |history| {
            let last = |id| history.iter().rposition(|found| Some(*found) == id);
            let user = last(Some(special.eoh)).unwrap();
            let (start, script) = match last(special.eor) {
                Some(results) if results > user => (results + 1 + label, &answer),
                _ => (user + 1 + before_turn, &turn),
            };
            let next = history.len().checked_sub(start);
            let next = next.and_then(|at| script.get(at).copied());
            next.unwrap_or(special.eom)
        }
    }

    pub(crate) fn serve(&self) -> Running {
        self.serve_with(tokenizer())
    }

    /// Starts a server that runs plugins.
    pub(crate) fn serve_running(&self, plugins: Option<Plugins>) -> Running {
        self.start(tokenizer(), plugins)
    }

    /// Starts a server with the system prompt `S`.
    pub(crate) fn serve_with(&self, tokenizer: Tokenizer) -> Running {
        self.start(tokenizer, None)
    }

    fn start(&self, tokenizer: Tokenizer, plugins: Option<Plugins>) -> Running {
        let engine = self.engine(tokenizer);
        let server = Server::new(ServerOptions::local("moss-scripted"));
        let system = SystemText::Custom("S".into());
        let model = ServedModel::new(engine.clone(), system, self.has_plugins).unwrap();
        server.open(model.with_plugins(plugins)).unwrap();
        Running::of(server, engine)
    }
}

/// The tokenizer of the demo model.
pub(crate) fn tokenizer() -> Tokenizer {
    Tokenizer::from_folder(demo("moss-demo-int4")).unwrap()
}
