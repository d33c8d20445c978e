//! The metrics of `/metrics`.

use moss_engine::{Metrics, StopCause};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::wire::answer::stop_reason;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Served {
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    reason: &'static str,
}

pub(crate) struct ServerMetrics {
    registry: Registry,
    requests: Family<Served, Counter>,
    answers: Family<Ended, Counter>,
    pub(crate) prompt_tokens: Counter,
    pub(crate) cached_tokens: Counter,
    pub(crate) generated_tokens: Counter,
    pub(crate) queue_time: Histogram,
    pub(crate) first_token: Histogram,
    pub(crate) between_tokens: Histogram,
    pub(crate) connections: Gauge,
    running: Gauge,
    waiting: Gauge,
    cache_blocks_used: Gauge,
    cache_blocks: Gauge,
}

impl Default for ServerMetrics {
    fn default() -> Self {
        // 1 ms to 2 minutes, and 0.1 ms to 13 seconds.
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 18));
        let between_tokens = Histogram::new(exponential_buckets(0.0001, 2.0, 18));
        let mut metrics = Self {
            registry: Registry::with_prefix("moss"),
            requests: Family::default(),
            answers: Family::default(),
            prompt_tokens: Counter::default(),
            cached_tokens: Counter::default(),
            generated_tokens: Counter::default(),
            queue_time: seconds(),
            first_token: seconds(),
            between_tokens,
            connections: Gauge::default(),
            running: Gauge::default(),
            waiting: Gauge::default(),
            cache_blocks_used: Gauge::default(),
            cache_blocks: Gauge::default(),
        };
        metrics.register();
        metrics
    }
}

impl ServerMetrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Requests answered", self.requests.clone());
        registry.register("answers", "Answers ended", self.answers.clone());
        registry.register(
            "prompt_tokens",
            "Tokens of prompts",
            self.prompt_tokens.clone(),
        );
        registry.register(
            "cached_tokens",
            "Tokens of prompts found in the cache",
            self.cached_tokens.clone(),
        );
        registry.register(
            "generated_tokens",
            "Tokens generated",
            self.generated_tokens.clone(),
        );
        let mut seconds = |name, help, histogram: &Histogram| {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        };
        seconds(
            "queue_time",
            "From a request's arrival until it runs",
            &self.queue_time,
        );
        seconds(
            "time_to_first_token",
            "From a request's arrival until its first token",
            &self.first_token,
        );
        seconds(
            "time_between_tokens",
            "From one token of an answer to the next",
            &self.between_tokens,
        );
        registry.register("connections", "Connections open", self.connections.clone());
        registry.register("batch_size", "Sequences that run", self.running.clone());
        registry.register("queue_length", "Requests that wait", self.waiting.clone());
        registry.register(
            "cache_blocks_used",
            "Blocks of the key/value cache in use",
            self.cache_blocks_used.clone(),
        );
        registry.register(
            "cache_blocks",
            "Blocks of the key/value cache",
            self.cache_blocks.clone(),
        );
    }

    /// Counts an answered request. Labels are the names of routes, not paths of requests, so that
    /// clients cannot create labels.
    pub(crate) fn served(&self, route: &str, status: u16) {
        self.requests
            .get_or_create(&Served {
                route: route.to_owned(),
                status,
            })
            .inc();
    }

    pub(crate) fn answer(&self, cause: &StopCause) {
        let reason = stop_reason(cause);
        self.answers.get_or_create(&Ended { reason }).inc();
    }

    /// Counts an answer whose client disconnected, or that failed.
    pub(crate) fn gone(&self) {
        self.answers.get_or_create(&Ended { reason: "gone" }).inc();
    }

    /// Returns all metrics in the text format of OpenMetrics.
    pub(crate) fn text(&self, engine: Option<Metrics>) -> Result<String, std::fmt::Error> {
        let now = engine.unwrap_or_default();
        self.running.set(now.running as i64);
        self.waiting.set(now.waiting as i64);
        self.cache_blocks_used.set(now.cache_blocks_used as i64);
        self.cache_blocks.set(now.cache_blocks as i64);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
