//! A model that follows a script, and counts what it is run on.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use moss_engine::{Engine, EngineOptions};
use moss_model::{CacheShape, LanguageModel, Logits, ModelError, MossConfig, SequenceChunk};
use moss_server::{ServedModel, Server, ServerOptions};
use moss_text::{SystemText, Tokenizer};

use super::Running;

pub const SEARCHING: &str =
    "<|Inner Thoughts|>: 要查一下<eot>\n<|Commands|>: Search(\"天气\")<eoc>";
pub const IDLE: &str = "<|Inner Thoughts|>: 打个招呼<eot>\n<|Commands|>: None<eoc>";
pub const ANSWER: &str = " 今天晴。<eom>";

/// A model that writes `turn` after a question, and [`ANSWER`] once it has results.
pub struct Script {
    pub turn: &'static str,
    pub has_plugins: bool,
    pub context_length: usize,
    /// Tokens that the model has before it, and those that it wrote and ran.
    pub seen: Arc<Mutex<Vec<u32>>>,
    /// Tokens that were run.
    pub rows: Arc<AtomicUsize>,
}

impl Script {
    pub fn plugins(turn: &'static str) -> Self {
        Self {
            turn,
            has_plugins: true,
            context_length: 2048,
            seen: Arc::default(),
            rows: Arc::default(),
        }
    }

    /// A model without plugins, which answers at once.
    pub fn plain() -> Self {
        Self {
            has_plugins: false,
            ..Self::plugins(ANSWER)
        }
    }

    /// An engine that runs one sequence at a time.
    pub fn engine(&self, tokenizer: Tokenizer) -> Arc<Engine> {
        let config = MossConfig {
            vocab_size: tokenizer.vocab_size(),
            eos_token_id: None,
            context_length: self.context_length,
            ..MossConfig::moon_003()
        };
        let model = Scripted {
            config,
            tokenizer: self::tokenizer(),
            turn: self.turn,
            behind: if self.has_plugins {
                "\n"
            } else {
                "\n<|MOSS|>:"
            },
            seen: self.seen.clone(),
            rows: self.rows.clone(),
        };
        let options = EngineOptions {
            max_sequences: 1,
            threads: Some(1),
            ..EngineOptions::default()
        };
        Arc::new(Engine::start(Box::new(model), Some(tokenizer), options).unwrap())
    }

    pub fn serve(&self) -> Running {
        self.serve_with(tokenizer())
    }

    /// A server whose conversations begin with `S`.
    pub fn serve_with(&self, tokenizer: Tokenizer) -> Running {
        let engine = self.engine(tokenizer);
        let server = Server::new(ServerOptions::local("moss-scripted"));
        let system = SystemText::Custom("S".into());
        server
            .open(ServedModel::new(engine.clone(), system, self.has_plugins).unwrap())
            .unwrap();
        Running::of(server, engine)
    }
}

/// The tokenizer of the demo model.
pub fn tokenizer() -> Tokenizer {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/demo/moss-demo-int4"
    );
    Tokenizer::from_folder(folder).unwrap()
}

struct Scripted {
    config: MossConfig,
    tokenizer: Tokenizer,
    turn: &'static str,
    /// Text between `<eoh>` and the model's words.
    behind: &'static str,
    seen: Arc<Mutex<Vec<u32>>>,
    rows: Arc<AtomicUsize>,
}

impl LanguageModel for Scripted {
    fn config(&self) -> &MossConfig {
        &self.config
    }

    fn cache_shape(&self) -> CacheShape {
        CacheShape::for_positions(2048)
    }

    fn forward(
        &mut self,
        batch: &[SequenceChunk<'_>],
        _: &dyn Fn() -> bool,
    ) -> Result<Vec<Logits>, ModelError> {
        let [chunk] = batch else {
            panic!("one at a time")
        };
        self.rows.fetch_add(chunk.token_ids.len(), SeqCst);
        let mut seen = self.seen.lock().unwrap();
        seen.truncate(chunk.start_pos);
        seen.extend_from_slice(chunk.token_ids);
        let special = self.tokenizer.special().unwrap();
        let ids = |text: &str| self.tokenizer.encode(text).unwrap();
        let asked = seen.iter().rposition(|id| *id == special.eoh).unwrap();
        let (start, script) = match seen.iter().rposition(|id| Some(*id) == special.eor) {
            Some(at) if at > asked => (at + 1 + ids("\n<|MOSS|>:").len(), ANSWER),
            _ => (asked + 1 + ids(self.behind).len(), self.turn),
        };
        let mut row = vec![0.0; self.config.vocab_size];
        let next = seen
            .len()
            .checked_sub(start)
            .and_then(|at| ids(script).get(at).copied());
        row[next.unwrap_or(special.eom) as usize] = 9.0;
        Ok(vec![Logits::new(row, self.config.vocab_size)])
    }

    fn weight_bytes_per_token(&self) -> u64 {
        0
    }

    fn cache_bytes_per_position(&self) -> u64 {
        0
    }
}
