//! The time of a decode step of n sequences, measured through the engine.
//!
//! The engine runs the sequences as in a server: it schedules them, the model computes a forward
//! batch, and each sequence samples its token. A step lasts from the start of a forward pass to the
//! start of the next one, so that it includes all of this.

mod cliffs;
mod observed;

use moss_engine::{Engine, EngineOptions, Request, Run, Speculation, StopRules};
use moss_model::{LanguageModel, Moss};
use moss_sampling::SamplingParams;

use crate::{
    BenchError,
    model_timing::{median, synthetic_token_ids},
    roofline::DecodeStep,
};

pub use cliffs::{CLIFF_RATIO, Cliff};

use observed::{ObservedModel, Pass, PassLog};

/// Maximum sequences of a step: more generated tokens are split into several micro-batches.
pub const MAX_SEQUENCES: usize = moss_cuda::MAX_DECODE_TOKENS;

/// Tokens that a sequence generates in addition to the measured steps: the first one comes from its
/// prompt, others while the prompts of other sequences run, in several steps so that replies continue,
/// and the last step has no next one that would end it.
const UNMEASURED: usize = 16;

/// The time of a decode step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchTime {
    /// Sequences of the step.
    pub sequences: usize,
    /// Steps that were measured.
    pub steps: usize,
    /// Median of the seconds of a step, including sampling.
    pub step_s: f64,
    /// Bytes that a step reads at least.
    pub bytes: DecodeStep,
    /// Mean number of positions to which a token attends.
    pub context: f64,
}

impl BatchTime {
    /// Returns the tokens per second of all sequences together.
    pub fn tokens_per_s(&self) -> f64 {
        self.sequences as f64 / self.step_s
    }

    /// Returns the part of the time that reading the bytes at `bandwidth` bytes per second takes.
    pub fn share(&self, bandwidth: f64) -> f64 {
        self.bytes.seconds(bandwidth) / self.step_s
    }
}

/// Returns the positions of a sequence with a prompt of `prompt` tokens, for `steps` measured steps.
pub fn positions(prompt: usize, steps: usize) -> usize {
    prompt.saturating_add(steps).saturating_add(UNMEASURED)
}

/// Times steps of each number of sequences in `sizes`, in this order, at least `steps` of each. All
/// sequences have different prompts of `prompt` tokens, which are in the cache before the first
/// step. The KV cache of `model` must hold [`positions`] for the most sequences.
///
/// # Errors
/// Those of the engine; [`BenchError::NothingMeasured`] if the sequences of a size never ran
/// together, for example because the cache is too small.
pub fn measure(
    model: Moss,
    sizes: &[usize],
    (prompt, steps): (usize, usize),
    sampling: &SamplingParams,
    threads: usize,
) -> Result<Vec<BatchTime>, BenchError> {
    let most = sizes.iter().max().copied().unwrap_or(1);
    let ids = synthetic_token_ids(&model, prompt + most);
    let (weights, per_position) = (
        model.weight_bytes_per_token() as f64,
        model.cache_bytes_per_position() as f64,
    );
    let log = PassLog::default();
    let options = EngineOptions {
        max_sequences: most,
        queue_limit: most.max(EngineOptions::default().queue_limit),
        threads: Some(threads),
        speculation: Speculation::Off, // a step has one token of each sequence
        ..EngineOptions::default()
    };
    let observed = ObservedModel {
        model,
        log: log.clone(),
    };
    let engine = Engine::start(Box::new(observed), None, options)?;
    // Each run of a size continues from the same cached prompts.
    let run = |sequences: usize, new: usize| -> Result<Vec<Pass>, BenchError> {
        log.take();
        let held = log.hold();
        let request = |first: usize| Request {
            stop: StopRules {
                max_new_tokens: Some(new),
                ..StopRules::default()
            },
            ..Request::new(ids[first..first + prompt].to_vec(), sampling.clone())
        };
        let runs = (0..sequences)
            .map(request)
            .map(|request| engine.submit(request))
            .collect::<Result<Vec<_>, _>>()?;
        drop(held);
        runs.into_iter()
            .map(Run::wait)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(log.take())
    };
    run(most, 0)?; // fills the cache
    let size = |sequences: &usize| {
        let passes = run(*sequences, steps + UNMEASURED)?;
        let full = full_steps(&passes, *sequences);
        let total: usize = full.iter().map(|step| step.positions).sum();
        let mean = total as f64 / full.len() as f64;
        Ok(BatchTime {
            sequences: *sequences,
            steps: full.len(),
            step_s: median(full.iter().map(|step| step.seconds).collect())?,
            bytes: DecodeStep {
                weights,
                cache: mean * per_position,
            },
            context: mean / *sequences as f64,
        })
    };
    sizes.iter().map(size).collect()
}

/// A step of all sequences.
struct FullStep {
    seconds: f64,
    positions: usize,
}

/// Returns the steps of `sequences` generated tokens that such a step follows.
fn full_steps(passes: &[Pass], sequences: usize) -> Vec<FullStep> {
    let is_full = |pass: &Pass| pass.is_decode && pass.sequences == sequences;
    let step = |pair: &[Pass]| {
        let [pass, next] = pair else { return None };
        (is_full(pass) && is_full(next)).then(|| FullStep {
            seconds: (next.began - pass.began).as_secs_f64(),
            positions: pass.positions,
        })
    };
    passes.windows(2).filter_map(step).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
