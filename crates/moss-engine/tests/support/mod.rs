//! Models that need no weights: what comes next is a function of what came before.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use moss_engine::{Engine, EngineOptions, Request, StopRules};
use moss_model::{
    CacheShape, DeviceSpec, LanguageModel, LogitRows, Logits, ModelError, MossConfig, SequenceChunk,
};
use moss_sampling::{SamplingParams, TopKCandidates};
use moss_text::Tokenizer;
use moss_weights::{DriverCall, KernelError};

type Next = Box<dyn Fn(&[u32]) -> u32 + Send>;

/// Keeps the ids it was given in its own "cache", block by block, so that a wrong table or position
/// shows in what it says.
pub struct Fake {
    config: MossConfig,
    cache: CacheShape,
    slots: Vec<u32>,
    /// The next token, given all before it.
    next: Next,
    /// Called before every pass with the number of rows.
    before: Box<dyn Fn(usize) + Send>,
    /// Fails the passes in which this id runs.
    pub poison: Option<u32>,
    /// How often a pass asks whether it is interrupted, calling `before` each time.
    pub layers: usize,
    /// Answers top-k requests with candidates, as a model on another device does, in place of rows.
    pub selects: bool,
    /// What it says beside its best token: logits by history.
    pub noise: Option<fn(&[u32], u32) -> f32>,
    pub faults: Faults,
}

/// Makes a later pass go wrong, also from outside while nothing runs.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Option<(usize, Fault)>>>);

impl Faults {
    /// What goes wrong once `passes` more have gone well.
    pub fn after(&self, passes: usize, fault: Fault) {
        *self.0.lock().unwrap() = Some((passes, fault));
    }

    fn now(&self) -> Option<Fault> {
        let mut planned = self.0.lock().unwrap();
        match planned.as_mut()? {
            (0, _) => planned.take().map(|(_, fault)| fault),
            (passes, _) => {
                *passes -= 1;
                None
            }
        }
    }
}

/// What a model can do wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// An error that names no sequence, such as memory that is not to be had.
    Error,
    /// An error that names the last sequence.
    NonFinite,
    /// NaN in all logits.
    NanLogits,
    /// Only -inf.
    NothingPossible,
    /// Rows that are not there.
    NoRows,
    /// One row short.
    ShortRows,
    /// Candidates that nobody asked for.
    Candidates,
    /// Fewer answers than chunks.
    FewerAnswers,
    /// The driver's context is gone: an illegal address, say.
    DeviceLost,
    /// The same of one stage of several.
    StageLost,
    /// A driver call that never returns.
    Hangs,
}

impl Fake {
    pub fn new(
        vocab_size: usize,
        positions: usize,
        next: impl Fn(&[u32]) -> u32 + Send + 'static,
    ) -> Self {
        let cache = CacheShape::for_positions(positions);
        let config = MossConfig {
            vocab_size,
            context_length: 256,
            eos_token_id: None,
            ..MossConfig::moon_003()
        };
        let slots = vec![u32::MAX; cache.positions()];
        let (next, before) = (Box::new(next), Box::new(|_| {}));
        Self {
            config,
            cache,
            slots,
            next,
            before,
            poison: None,
            layers: 1,
            selects: false,
            noise: None,
            faults: Faults::default(),
        }
    }

    pub fn before(mut self, before: impl Fn(usize) + Send + 'static) -> Self {
        self.before = Box::new(before);
        self
    }

    pub fn start(self, options: EngineOptions, tokenizer: Option<Tokenizer>) -> Arc<Engine> {
        Arc::new(Engine::start(Box::new(self), tokenizer, options).unwrap())
    }
}

impl Fake {
    /// What a pass that did not end leaves behind is not to be relied on.
    fn spoil(&mut self, batch: &[SequenceChunk<'_>]) {
        let block_size = self.cache.block_size;
        for chunk in batch {
            let last = chunk.start_pos + chunk.token_ids.len() - 1;
            let block = chunk.blocks.blocks()[last / block_size] as usize;
            self.slots[block * block_size + last % block_size] = 96;
        }
    }
}

impl LanguageModel for Fake {
    fn config(&self) -> &MossConfig {
        &self.config
    }

    fn cache_shape(&self) -> CacheShape {
        self.cache
    }

    fn forward(
        &mut self,
        batch: &[SequenceChunk<'_>],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Vec<Logits>, ModelError> {
        let fault = self.faults.now();
        for _ in 0..self.layers {
            (self.before)(batch.iter().map(|chunk| chunk.token_ids.len()).sum());
            if interrupted() {
                self.spoil(batch);
                return Err(ModelError::Interrupted);
            }
        }
        match fault {
            Some(Fault::Error) => {
                self.spoil(batch);
                return Err(ModelError::CacheFull {
                    needed_blocks: 1,
                    free_blocks: 0,
                });
            }
            Some(Fault::DeviceLost) => return Err(lost()),
            Some(Fault::StageLost) => {
                let source = Box::new(lost());
                return Err(ModelError::Stage {
                    stage: 1,
                    device: DeviceSpec::Cpu,
                    source,
                });
            }
            Some(Fault::Hangs) => loop {
                std::thread::park();
            },
            Some(Fault::NonFinite) => {
                self.spoil(batch);
                let (layer, sequence, position, value) = (3, batch.len() - 1, 0, f32::INFINITY);
                return Err(ModelError::NonFinite {
                    layer,
                    sequence,
                    position,
                    value,
                });
            }
            _ => {}
        }
        if let Some(sequence) = batch
            .iter()
            .position(|chunk| chunk.token_ids.iter().any(|id| Some(*id) == self.poison))
        {
            return Err(ModelError::NonFinite {
                layer: 3,
                sequence,
                position: 0,
                value: f32::NAN,
            });
        }
        let mut out = Vec::new();
        for chunk in batch {
            let slot = |position: usize| {
                chunk.blocks.blocks()[position / self.cache.block_size] as usize
                    * self.cache.block_size
                    + position % self.cache.block_size
            };
            for (index, id) in chunk.token_ids.iter().enumerate() {
                self.slots[slot(chunk.start_pos + index)] = *id;
            }
            let end = chunk.start_pos + chunk.token_ids.len();
            let history: Vec<u32> = (0..end)
                .map(|position| self.slots[slot(position)])
                .collect();
            let mut row = vec![0.0; self.config.vocab_size];
            if let Some(noise) = self.noise {
                row = (0..row.len() as u32)
                    .map(|id| noise(&history, id))
                    .collect();
            }
            row[(self.next)(&history) as usize] = 10.0;
            match fault {
                Some(Fault::NanLogits) => row.fill(f32::NAN),
                Some(Fault::NothingPossible) => row.fill(f32::NEG_INFINITY),
                Some(Fault::NoRows) => row.clear(),
                _ => {}
            }
            if fault == Some(Fault::ShortRows) {
                out.push(Logits::new(row[1..].to_vec(), self.config.vocab_size - 1));
                continue;
            }
            if let LogitRows::TopK(request) = chunk.logits
                && self.selects
                && let Some(candidates) = request.select(&row)
            {
                out.push(Logits::from_top_k(candidates, self.config.vocab_size));
                continue;
            }
            if fault == Some(Fault::Candidates) {
                out.push(Logits::from_top_k(
                    TopKCandidates(vec![(1, 0.0)]),
                    self.config.vocab_size,
                ));
                continue;
            }
            let values = if chunk.logits == LogitRows::None {
                Vec::new()
            } else {
                row
            };
            out.push(Logits::new(values, self.config.vocab_size));
        }
        if fault == Some(Fault::FewerAnswers) {
            out.pop();
        }
        Ok(out)
    }

    fn weight_bytes_per_token(&self) -> u64 {
        0
    }

    fn cache_bytes_per_position(&self) -> u64 {
        0
    }
}

fn lost() -> ModelError {
    let message = "an illegal memory access was encountered".to_owned();
    let source = KernelError::Driver {
        what: DriverCall::Synchronize,
        code: 700,
        message,
    };
    ModelError::Kernel {
        layer: 3,
        op: "attention",
        source,
    }
}

/// Depends on everything before, so that one wrong position shows.
pub fn mix(history: &[u32]) -> u32 {
    history
        .iter()
        .fold(7u32, |hash, id| hash.wrapping_mul(31).wrapping_add(*id + 1))
        % 97
}

pub fn greedy(prompt: &[u32], max_new_tokens: usize) -> Request {
    let stop = StopRules {
        max_new_tokens: Some(max_new_tokens),
        ..StopRules::default()
    };
    Request {
        stop,
        ..Request::new(prompt.to_vec(), SamplingParams::greedy())
    }
}

/// What [`mix`] says after `prompt`.
pub fn expected(prompt: &[u32], count: usize) -> Vec<u32> {
    let mut ids = prompt.to_vec();
    for _ in 0..count {
        ids.push(mix(&ids));
    }
    ids.split_off(prompt.len())
}

/// Read once: a clone is cheap.
pub fn tokenizer() -> Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
        let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
        Tokenizer::from_folder(fixtures.join("tokenizer")).unwrap()
    });
    TOKENIZER.clone()
}

/// Says `script` after whatever it is asked, token by token.
pub fn scripted(prompt_len: usize, script: &str) -> impl Fn(&[u32]) -> u32 + Send + 'static {
    let ids = tokenizer().encode(script).unwrap();
    move |history| ids.get(history.len() - prompt_len).copied().unwrap_or(0)
}

pub fn options() -> EngineOptions {
    EngineOptions {
        queue_limit: 64,
        max_sequences: 4,
        prefill_chunk: Some(8),
        threads: Some(1),
        ..EngineOptions::default()
    }
}

pub fn slow(_: usize) {
    std::thread::sleep(Duration::from_millis(2));
}

/// Answers the n-th question that it is shown, counting `<eoh>`s, with `reply(n)`.
pub fn numbered(history: &[u32], reply: impl Fn(usize) -> String) -> u32 {
    let tokenizer = tokenizer();
    let special = tokenizer.special().unwrap();
    let shown = history.iter().filter(|id| **id == special.eoh).count();
    let reply = tokenizer.encode(&(reply(shown) + "<eom>")).unwrap();
    let opening = tokenizer.encode("\n<|MOSS|>:").unwrap().len();
    let start = history.iter().rposition(|id| *id == special.eoh).unwrap() + 1 + opening;
    // In the middle of a prompt there is nothing to say yet, and nobody asks.
    history
        .len()
        .checked_sub(start)
        .and_then(|at| reply.get(at).copied())
        .unwrap_or(special.eom)
}
