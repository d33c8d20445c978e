//! `bench --clients`: conversations that ask at the same time, through the engine as the server and
//! the chat use it.

use std::time::Instant;

use moss::{Engine, EngineOptions, Moss, Request, SamplingParams, StopRules, model::CacheShape};
use serde_json::{Value, json};

use super::measure::{made_up_ids, median};
use moss_messages::{Language, msg};

/// What so many clients got.
pub(super) struct Served {
    clients: usize,
    prompt: usize,
    new: usize,
    /// From the first question to the last token.
    seconds: f64,
    /// From a client's question to its first token: the median, and the longest.
    first_s: [f64; 2],
}

/// Cache positions that `clients` conversations of `positions` take.
pub(super) fn cache_positions(clients: usize, positions: usize) -> usize {
    let blocks = clients.saturating_mul(positions.div_ceil(CacheShape::BLOCK_SIZE));
    blocks.saturating_mul(CacheShape::BLOCK_SIZE)
}

/// Lets each number of clients ask at once, each with a prompt of `prompt` tokens of its own and
/// for `new` more. The first of all runs twice, and counts once.
pub(super) fn serve(
    model: Moss,
    numbers: &[usize],
    (prompt, new): (usize, usize),
    sampling: &SamplingParams,
    threads: usize,
) -> anyhow::Result<Vec<Served>> {
    let most = numbers.iter().max().copied().unwrap_or(1);
    let ids = made_up_ids(&model, prompt + most);
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
    let ask = |clients: usize| -> anyhow::Result<Served> {
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
            .map(moss::Run::wait)
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
    numbers.first().map(|first| ask(*first)).transpose()?;
    numbers.iter().map(|clients| ask(*clients)).collect()
}

impl Served {
    fn tokens_per_s(&self) -> f64 {
        (self.clients * self.new) as f64 / self.seconds
    }

    pub(super) fn text(&self, language: Language) -> String {
        let Self {
            clients,
            prompt,
            new,
            first_s,
            ..
        } = self;
        let (rate, [median, longest]) = (self.tokens_per_s(), first_s.map(|seconds| seconds * 1e3));
        format!(
            "  {}\n",
            language.text(&msg!(
                "bench-clients",
                clients = format!("{clients:>4}"),
                prompt,
                new,
                rate,
                median,
                longest
            ))
        )
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "clients": self.clients, "prompt": self.prompt, "new": self.new, "seconds": self.seconds,
            "tokens_per_s": self.tokens_per_s(), "first_token_s": self.first_s[0], "first_token_max_s": self.first_s[1],
        })
    }
}
