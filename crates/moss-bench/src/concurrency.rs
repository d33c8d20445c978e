//! Throughput of concurrent requests, measured through the engine.

use std::time::Instant;

use moss_engine::{Engine, EngineOptions, Request, Run, StopRules, Timings};
use moss_model::{CacheShape, Moss};
use moss_sampling::SamplingParams;

use crate::{BenchError, Quantiles, batch::MAX_SEQUENCES, model_timing::synthetic_token_ids};

/// The times of concurrent requests.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    /// Concurrent requests.
    pub clients: usize,
    /// Tokens of each prompt.
    pub prompt: usize,
    /// Tokens generated for each.
    pub new: usize,
    /// Seconds from the first request to the last token.
    pub seconds: f64,
    /// Seconds from a request to its first token.
    pub first_s: Quantiles,
    /// Seconds per token of a request after its first one; `None` if each has only one.
    pub token_s: Option<Quantiles>,
}

/// Returns the cache positions of `clients` conversations of `positions` tokens, which all run at
/// the same time.
pub fn cache_positions(clients: usize, positions: usize) -> usize {
    let blocks = clients.saturating_mul(positions.div_ceil(CacheShape::BLOCK_SIZE));
    blocks.saturating_mul(CacheShape::BLOCK_SIZE)
}

/// Runs each number of concurrent requests. Each request has a different prompt of `prompt` tokens
/// and generates `new` tokens. At most [`MAX_SEQUENCES`] run at the same time, and the others wait.
/// The first number is run twice, the first time as a warm-up.
///
/// # Errors
/// Those of the engine.
pub fn serve(
    model: Moss,
    numbers: &[usize],
    (prompt, new): (usize, usize),
    sampling: &SamplingParams,
    threads: usize,
) -> Result<Vec<Served>, BenchError> {
    let most = numbers.iter().max().copied().unwrap_or(1);
    let ids = synthetic_token_ids(&model, prompt + most);
    let options = EngineOptions {
        max_sequences: most.min(MAX_SEQUENCES),
        threads: Some(threads),
        ..EngineOptions::default()
    };
    let options = EngineOptions {
        queue_limit: most.max(options.queue_limit),
        ..options
    };
    let engine = Engine::start(Box::new(model), None, options)?;
    let stop = StopRules {
        max_new_tokens: Some(new),
        ..StopRules::default()
    };
    let measure = |clients: usize| -> Result<Served, BenchError> {
        let start = Instant::now();
        let request = |client: usize| Request {
            stop: stop.clone(),
            ..Request::new(ids[client..client + prompt].to_vec(), sampling.clone())
        };
        let runs = (0..clients)
            .map(|client| engine.submit(request(client)))
            .collect::<Result<Vec<_>, _>>()?;
        let outcomes = runs
            .into_iter()
            .map(Run::wait)
            .collect::<Result<Vec<_>, _>>()?;
        let seconds = start.elapsed().as_secs_f64();
        let timings = || outcomes.iter().map(|outcome| outcome.timings);
        let first = timings().map(|timings| timings.first_token.as_secs_f64());
        let after_first = |timings: Timings| timings.decode.as_secs_f64() / (new - 1) as f64;
        let per_token = (new > 1).then(|| timings().map(after_first).collect());
        Ok(Served {
            clients,
            prompt,
            new,
            seconds,
            first_s: Quantiles::of(first.collect())?,
            token_s: per_token.map(Quantiles::of).transpose()?,
        })
    };
    numbers.first().map(|first| measure(*first)).transpose()?;
    numbers.iter().map(|clients| measure(*clients)).collect()
}

impl Served {
    /// Returns the tokens per second of all clients together.
    pub fn tokens_per_s(&self) -> f64 {
        (self.clients * self.new) as f64 / self.seconds
    }
}
