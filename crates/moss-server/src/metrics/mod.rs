//! The metrics of `/metrics`.

mod engine;
mod owners;
mod tokens;

use std::sync::Arc;

use moss_engine::StopCause;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{BuildInfo, ServedModel, wire::answer::stop_reason};

use self::engine::EngineMetrics;
pub(crate) use self::{
    owners::{OwnerCounts, OwnerMetrics},
    tokens::TokenCounts,
};

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
    pub(crate) connections: Gauge,
    pub(crate) owners: Arc<OwnerMetrics>,
    engine: Arc<EngineMetrics>,
}

impl ServerMetrics {
    pub(crate) fn new(build: &BuildInfo) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("moss"),
            requests: Family::default(),
            answers: Family::default(),
            prompt_tokens: Counter::default(),
            cached_tokens: Counter::default(),
            generated_tokens: Counter::default(),
            connections: Gauge::default(),
            owners: Arc::default(),
            engine: Arc::new(EngineMetrics::new(build)),
        };
        metrics.register();
        metrics
    }

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
        registry.register("connections", "Connections open", self.connections.clone());
        registry.register_collector(Box::new(self.owners.clone()));
        registry.register_collector(Box::new(self.engine.clone()));
    }

    /// Adds the metrics of a model's engine.
    pub(crate) fn open(&self, model: &ServedModel) {
        self.engine.open(model);
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

    /// Counts an answer whose client disconnected.
    pub(crate) fn gone(&self) {
        self.answers.get_or_create(&Ended { reason: "gone" }).inc();
    }

    /// Counts an answer that ended with an error.
    pub(crate) fn failed(&self) {
        let reason = "failed";
        self.answers.get_or_create(&Ended { reason }).inc();
    }

    /// Returns all metrics in the text format of OpenMetrics.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
