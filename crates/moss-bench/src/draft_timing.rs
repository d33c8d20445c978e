//! The speed of speculative decoding, measured through the engine with forced replies.

use std::sync::{Arc, Mutex, PoisonError};

use moss_engine::{Engine, EngineOptions, Outcome, Request, Speculation, StopRules};
use moss_model::{CacheShape, LanguageModel, Logits, ModelError, Moss, MossConfig, SequenceChunk};
use moss_sampling::SamplingParams;

use crate::{
    BenchError,
    model_timing::{median, synthetic_token_ids},
};

/// Measurements of each reply, of which the median is reported.
const ROUNDS: usize = 3;

/// In a repetition, every token with a number that is a multiple of this is another one. Nine of
/// ten drafts are then accepted.
const CHANGED: usize = 32;

/// Token ids of a random reply. Pairs of them repeat, and what follows does not.
const RANDOM_IDS: u32 = 64;

/// A reply that the model is forced to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForcedReply {
    /// The prompt again, with some tokens changed: most drafts are accepted.
    Repetition,
    /// Random tokens: no draft is accepted.
    Random,
}

impl ForcedReply {
    /// All replies.
    pub const ALL: [Self; 2] = [Self::Repetition, Self::Random];

    /// Returns a prompt of `prompt` tokens, followed by a reply of `new` tokens.
    fn script(self, model: &Moss, prompt: usize, new: usize) -> Vec<u32> {
        let mut ids = synthetic_token_ids(model, prompt);
        let hash = |i: usize| (i as u32).wrapping_mul(0x9e37_79b1).rotate_left(13) ^ 0x51;
        let reply = |i: usize| match self {
            Self::Repetition if i % CHANGED == CHANGED - 1 => ids[(7 * i + 3) % prompt],
            Self::Repetition => ids[i % prompt],
            Self::Random => hash(hash(i) as usize) % RANDOM_IDS,
        };
        let reply: Vec<_> = (0..new).map(reply).collect();
        ids.extend(reply);
        ids
    }
}

/// The time per token without and with drafts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DraftTimes {
    /// The reply.
    pub reply: ForcedReply,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens of the reply.
    pub new: usize,
    /// Median of the seconds per token without drafts.
    pub plain_s: f64,
    /// Median of the seconds per token with drafts.
    pub drafted_s: f64,
    /// Verified drafts of the last reply.
    pub drafted: usize,
    /// Accepted drafts of the last reply.
    pub accepted: usize,
}

impl DraftTimes {
    /// Returns the speed relative to plain decoding.
    pub fn speedup(&self) -> f64 {
        self.plain_s / self.drafted_s
    }

    /// Returns the share of the drafts that were accepted.
    pub fn acceptance(&self) -> f64 {
        self.accepted as f64 / self.drafted.max(1) as f64
    }
}

/// A model that computes everything and then returns the tokens of a script.
struct Forced {
    model: Arc<Mutex<Moss>>,
    script: Arc<Vec<u32>>,
    config: MossConfig,
    cache: CacheShape,
    /// Bytes per token and per position.
    bytes: [u64; 2],
    chunks: [usize; 2],
    runs_on_cpu: bool,
}

impl Forced {
    fn new(model: &Arc<Mutex<Moss>>, script: &Arc<Vec<u32>>) -> Self {
        let moss = model.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            model: model.clone(),
            script: script.clone(),
            config: moss.config().clone(),
            cache: moss.cache_shape(),
            bytes: [
                moss.weight_bytes_per_token(),
                moss.cache_bytes_per_position(),
            ],
            chunks: [moss.prefill_chunk(), moss.prefill_tile()],
            runs_on_cpu: moss.runs_on_cpu(),
        }
    }
}

impl LanguageModel for Forced {
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
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        model.forward(batch, interrupted)?;
        let forced = |chunk: &SequenceChunk<'_>| {
            let end = chunk.start_pos + chunk.token_ids.len();
            let rows = chunk.logits.count(chunk.token_ids.len());
            let after = end - rows + 1..=end;
            let tokens =
                after.map(|position| Some(self.script.get(position).copied().unwrap_or(0)));
            Logits::sampled(tokens.collect(), Vec::new(), self.config.vocab_size)
        };
        Ok(batch.iter().map(forced).collect())
    }

    fn weight_bytes_per_token(&self) -> u64 {
        self.bytes[0]
    }

    fn cache_bytes_per_position(&self) -> u64 {
        self.bytes[1]
    }

    fn prefill_chunk(&self) -> usize {
        self.chunks[0]
    }

    fn prefill_tile(&self) -> usize {
        self.chunks[1]
    }

    fn runs_on_cpu(&self) -> bool {
        self.runs_on_cpu
    }
}

/// Measures a reply of `new` tokens after a prompt of `prompt` tokens, of each kind, without drafts
/// and with `speculation`, alternately. Each engine first gives the reply once without measurement.
///
/// # Errors
/// Those of the engine.
pub fn measure(
    model: Moss,
    (prompt, new): (usize, usize),
    speculation: Speculation,
    threads: usize,
) -> Result<Vec<DraftTimes>, BenchError> {
    let scripts = ForcedReply::ALL.map(|reply| (reply, reply.script(&model, prompt, new)));
    let model = Arc::new(Mutex::new(model));
    let run = |script: &Arc<Vec<u32>>, speculation| -> Result<Outcome, BenchError> {
        let options = EngineOptions {
            threads: Some(threads),
            speculation,
            ..EngineOptions::chat()
        };
        let forced = Forced::new(&model, script);
        let engine = Engine::start(Box::new(forced), None, options)?;
        let request = || Request {
            stop: StopRules {
                max_new_tokens: Some(new),
                ..StopRules::default()
            },
            ..Request::new(script[..prompt].to_vec(), SamplingParams::greedy())
        };
        engine.submit(request())?.wait()?;
        Ok(engine.submit(request())?.wait()?)
    };
    let time = |outcome: &Outcome| outcome.timings.decode.as_secs_f64() / (new - 1).max(1) as f64;
    let measured = scripts.into_iter().map(|(reply, script)| {
        let script = Arc::new(script);
        let (mut plain, mut drafted) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            plain.push(run(&script, Speculation::Off)?);
            drafted.push(run(&script, speculation)?);
        }
        let usage = drafted.last().map(|outcome| outcome.usage);
        let usage = usage.unwrap_or_default();
        Ok(DraftTimes {
            reply,
            prompt,
            new,
            plain_s: median(plain.iter().map(time).collect())?,
            drafted_s: median(drafted.iter().map(time).collect())?,
            drafted: usage.drafted_tokens,
            accepted: usage.accepted_tokens,
        })
    });
    measured.collect()
}
