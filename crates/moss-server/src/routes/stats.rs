//! `GET /stats`: counters and times as JSON, for people and scripts. Monitoring systems read
//! `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::{Json, extract::State};
use moss_engine::{Histogram, Metrics};
use serde::Serialize;

use crate::{
    error::ApiError,
    metrics::OwnerCounts,
    state::{Shared, State as ServerState},
};

#[derive(Serialize)]
pub(crate) struct Stats {
    model: String,
    version: String,
    commit: Option<String>,
    features: Vec<String>,
    device_code: Vec<String>,
    uptime_s: f64,
    /// Answers that are being generated.
    running: usize,
    /// Answers in the queue.
    waiting: usize,
    connections: i64,
    cache: Cache,
    totals: Totals,
    times: Times,
    /// By name, or number for keys without one.
    keys: Vec<Key>,
}

/// The KV cache.
#[derive(Serialize)]
struct Cache {
    blocks: usize,
    blocks_used: usize,
}

/// Counts since the start.
#[derive(Serialize)]
struct Totals {
    answers: u64,
    prompt_tokens: u64,
    cached_tokens: u64,
    generated_tokens: u64,
    /// Answers with tokens of their prompt in the cache.
    prefix_hits: u64,
    preemptions: u64,
    drafted_tokens: u64,
    accepted_tokens: u64,
}

#[derive(Serialize)]
struct Times {
    queue: Distribution,
    first_token: Distribution,
    between_tokens: Distribution,
}

/// Times in seconds. The quantiles are upper bounds: those of their buckets.
#[derive(Serialize)]
struct Distribution {
    count: u64,
    mean_s: Option<f64>,
    p50_s: Option<f64>,
    p90_s: Option<f64>,
    p99_s: Option<f64>,
}

/// Counts of a key since the start.
#[derive(Serialize)]
struct Key {
    name: String,
    requests: u64,
    prompt_tokens: u64,
    cached_tokens: u64,
    generated_tokens: u64,
}

pub(crate) async fn stats(State(state): State<Shared>) -> Result<Json<Stats>, ApiError> {
    let model = state.loaded().ok_or(ApiError::Loading)?;
    let (now, build) = (model.engine.metrics(), &state.options.build);
    let owners = state.metrics.owners.all();
    Ok(Json(Stats {
        model: state.options.model.clone(),
        version: build.version.clone(),
        commit: build.commit.clone(),
        features: build.features.clone(),
        device_code: model.device_code.clone(),
        uptime_s: state.started.elapsed().as_secs_f64(),
        running: now.running,
        waiting: now.waiting,
        connections: state.metrics.connections.get(),
        cache: Cache {
            blocks: now.cache_blocks,
            blocks_used: now.cache_blocks_used,
        },
        totals: totals(&state, &now),
        times: Times {
            queue: Distribution::of(&now.queue_time),
            first_token: Distribution::of(&now.first_token_time),
            between_tokens: Distribution::of(&now.inter_token_time),
        },
        keys: owners
            .iter()
            .map(|(name, counts)| Key::of(name, counts))
            .collect(),
    }))
}

fn totals(state: &ServerState, now: &Metrics) -> Totals {
    Totals {
        answers: now.requests,
        prompt_tokens: state.metrics.prompt_tokens.get(),
        cached_tokens: state.metrics.cached_tokens.get(),
        generated_tokens: now.generated_tokens,
        prefix_hits: now.reused_requests,
        preemptions: now.preemptions,
        drafted_tokens: now.drafted_tokens,
        accepted_tokens: now.accepted_tokens,
    }
}

impl Distribution {
    fn of(histogram: &Histogram) -> Self {
        let count = histogram.count();
        // The last bucket has no bound, and JSON has no infinity.
        let quantile = |share| {
            histogram
                .quantile_s(share)
                .filter(|bound| bound.is_finite())
        };
        Self {
            count,
            mean_s: (count > 0).then(|| histogram.sum_s() / count as f64),
            p50_s: quantile(0.5),
            p90_s: quantile(0.9),
            p99_s: quantile(0.99),
        }
    }
}

impl Key {
    fn of(name: &str, counts: &OwnerCounts) -> Self {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        Self {
            name: name.to_owned(),
            requests: count(&counts.requests),
            prompt_tokens: count(&counts.prompt_tokens),
            cached_tokens: count(&counts.cached_tokens),
            generated_tokens: count(&counts.generated_tokens),
        }
    }
}
