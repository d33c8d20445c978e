//! Engines over a [`ScriptedModel`], and the functions that such models compute.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use moss_engine::{Engine, EngineOptions, Request, Speculation, StopRules};
use moss_sampling::SamplingParams;
use moss_testing::{fixture, model::ScriptedModel};
use moss_text::Tokenizer;

pub(crate) trait StartEngine {
    /// Starts an engine that runs this model.
    fn start(self, options: EngineOptions, tokenizer: Option<Tokenizer>) -> Arc<Engine>;
}

impl StartEngine for ScriptedModel {
    fn start(self, options: EngineOptions, tokenizer: Option<Tokenizer>) -> Arc<Engine> {
        Arc::new(Engine::start(Box::new(self), tokenizer, options).unwrap())
    }
}

/// A next token that depends on the whole history, so that one wrong position changes it.
pub(crate) fn mix(history: &[u32]) -> u32 {
    history
        .iter()
        .fold(7u32, |hash, id| hash.wrapping_mul(31).wrapping_add(*id + 1))
        % 97
}

/// Returns the tokens that a model of [`mix`] generates after `prompt`.
pub(crate) fn expected(prompt: &[u32], count: usize) -> Vec<u32> {
    let mut ids = prompt.to_vec();
    for _ in 0..count {
        ids.push(mix(&ids));
    }
    ids.split_off(prompt.len())
}

pub(crate) fn greedy(prompt: &[u32], max_new_tokens: usize) -> Request {
    let stop = StopRules {
        max_new_tokens: Some(max_new_tokens),
        ..StopRules::default()
    };
    Request {
        stop,
        ..Request::new(prompt.to_vec(), SamplingParams::greedy())
    }
}

/// Returns the fixture's tokenizer, which is loaded once.
pub(crate) fn tokenizer() -> Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> =
        LazyLock::new(|| Tokenizer::from_folder(fixture("tokenizer")).unwrap());
    TOKENIZER.clone()
}

/// Generates `script`, token by token, after any prompt of `prompt_len` tokens.
pub(crate) fn scripted(prompt_len: usize, script: &str) -> impl Fn(&[u32]) -> u32 + Send + 'static {
    let ids = tokenizer().encode(script).unwrap();
    move |history| ids.get(history.len() - prompt_len).copied().unwrap_or(0)
}

pub(crate) fn options() -> EngineOptions {
    EngineOptions {
        queue_limit: 64,
        max_sequences: 4,
        prefill_chunk: Some(8),
        threads: Some(1),
        speculation: Speculation::Off, // by default, it depends on the time of each step
        ..EngineOptions::default()
    }
}

/// The time that each layer takes. It can be changed while the engine runs.
#[derive(Clone)]
pub(crate) struct Pace(Arc<AtomicU64>);

impl Pace {
    pub(crate) fn ms(ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(ms)))
    }

    pub(crate) fn set_ms(&self, ms: u64) {
        self.0.store(ms, SeqCst);
    }

    /// Returns the function for [`ScriptedModel::before`].
    pub(crate) fn wait(&self) -> impl Fn(usize) + Send + 'static {
        let ms = self.0.clone();
        move |_| std::thread::sleep(Duration::from_millis(ms.load(SeqCst)))
    }
}

/// Takes 2 ms per layer.
pub(crate) fn slow(_: usize) {
    std::thread::sleep(Duration::from_millis(2));
}

/// Generates `reply(n)` after the n-th message in the history, counted by `<eoh>` tokens.
pub(crate) fn numbered(history: &[u32], reply: impl Fn(usize) -> String) -> u32 {
    let tokenizer = tokenizer();
    let special = tokenizer.special().unwrap();
    let messages = history.iter().filter(|id| **id == special.eoh).count();
    let reply = tokenizer.encode(&(reply(messages) + "<eom>")).unwrap();
    let opening = tokenizer.encode("\n<|MOSS|>:").unwrap().len();
    let start = history.iter().rposition(|id| *id == special.eoh).unwrap() + 1 + opening;
    // Within a prompt, the logits are not used.
    history
        .len()
        .checked_sub(start)
        .and_then(|at| reply.get(at).copied())
        .unwrap_or(special.eom)
}
