//! Throughput of concurrent requests, measured through the engine.

use std::time::Instant;

use moss_engine::{Engine, EngineOptions, Request, Run, StopRules};
use moss_model::{CacheShape, Moss};
use moss_sampling::SamplingParams;

use crate::{
    BenchError,
    model_timing::{median, synthetic_token_ids},
};

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
    /// Seconds from a request to its first token: the median, and the longest.
    pub first_s: [f64; 2],
}

/// Returns the cache positions of `clients` conversations of `positions` tokens.
pub fn cache_positions(clients: usize, positions: usize) -> usize {
    let blocks = clients.saturating_mul(positions.div_ceil(CacheShape::BLOCK_SIZE));
    blocks.saturating_mul(CacheShape::BLOCK_SIZE)
}

/// Runs each number of concurrent requests. Each request has a different prompt of `prompt` tokens
/// and generates `new` tokens. The first number is run twice, the first time as a warm-up.
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
        max_sequences: most,
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
        let first = outcomes
            .iter()
            .map(|outcome| outcome.timings.queued + outcome.timings.prefill);
        let first: Vec<f64> = first.map(|time| time.as_secs_f64()).collect();
        let longest = first.iter().copied().fold(0.0, f64::max);
        Ok(Served {
            clients,
            prompt,
            new,
            seconds,
            first_s: [median(first)?, longest],
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
