//! Throughput of concurrent requests, measured through the engine.

use std::time::Instant;

use moss_engine::{Engine, EngineOptions, Request, Run, StopRules, Timings};
use moss_model::{CacheShape, Moss};
use moss_sampling::SamplingParams;

use crate::{Arrival, BenchError, Quantiles, arrival, batch::MAX_SEQUENCES, prompts::Prompts};

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
    /// The effect of a prompt that arrives while the others run, if it was measured.
    pub arrival: Option<Arrival>,
}

/// Returns the cache positions of `clients` conversations of `positions` tokens, which all run at
/// the same time.
pub fn cache_positions(clients: usize, positions: usize) -> usize {
    let blocks = clients.saturating_mul(positions.div_ceil(CacheShape::BLOCK_SIZE));
    blocks.saturating_mul(CacheShape::BLOCK_SIZE)
}

/// Runs each number of concurrent requests. Each request has a different prompt of `prompt` tokens
/// and generates `new` tokens. At most [`MAX_SEQUENCES`] run at the same time, and the others wait.
/// Each number is run twice, the first time as a warm-up: CUDA graphs are captured, and the scheduler
/// learns the cost of steps. With `arriving`, also measures the arrival of a prompt of so many tokens.
///
/// # Errors
/// Those of the engine; [`BenchError::NothingMeasured`] if a stream ends before an arriving prompt is
/// complete.
pub fn serve(
    model: Moss,
    numbers: &[usize],
    (prompt, new): (usize, usize),
    arriving: Option<usize>,
    sampling: &SamplingParams,
    threads: usize,
) -> Result<Vec<Served>, BenchError> {
    let most = numbers.iter().max().copied().unwrap_or(1);
    let mut prompts = Prompts::new(&model, prompt.max(arriving.unwrap_or(0)));
    let sequences = most.saturating_add(usize::from(arriving.is_some()));
    let options = EngineOptions {
        max_sequences: sequences.min(MAX_SEQUENCES),
        threads: Some(threads),
        ..EngineOptions::default()
    };
    let options = EngineOptions {
        queue_limit: sequences.max(options.queue_limit),
        ..options
    };
    let engine = Engine::start(Box::new(model), None, options)?;
    let stop = StopRules {
        max_new_tokens: Some(new),
        ..StopRules::default()
    };
    let mut measure = |clients: usize| -> Result<Served, BenchError> {
        let requests: Vec<_> = (0..clients)
            .map(|_| Request {
                stop: stop.clone(),
                ..Request::new(prompts.next(prompt), sampling.clone())
            })
            .collect();
        let start = Instant::now();
        let runs = requests
            .into_iter()
            .map(|request| engine.submit(request))
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
            arrival: None,
        })
    };
    let mut served = Vec::with_capacity(numbers.len());
    for clients in numbers {
        measure(*clients)?;
        served.push(measure(*clients)?);
    }
    if let Some(arriving) = arriving {
        for served in &mut served {
            let shape = (served.clients, prompt);
            let found = arrival::measure(&engine, &mut prompts, shape, arriving, sampling)?;
            served.arrival = Some(found);
        }
    }
    Ok(served)
}

impl Served {
    /// Returns the tokens per second of all clients together.
    pub fn tokens_per_s(&self) -> f64 {
        (self.clients * self.new) as f64 / self.seconds
    }
}
