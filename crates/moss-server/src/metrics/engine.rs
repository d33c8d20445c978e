//! Metrics of the engine, read at each scrape.

use std::{fmt, sync::OnceLock};

use moss_engine::Histogram;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use crate::{BuildInfo, ServedModel};

/// The metrics of an engine; zeros before there is one.
#[derive(Debug)]
pub(crate) struct EngineMetrics {
    build: BuildInfo,
    model: OnceLock<ServedModel>,
}

impl EngineMetrics {
    pub(crate) fn new(build: &BuildInfo) -> Self {
        let (build, model) = (build.clone(), OnceLock::new());
        Self { build, model }
    }

    pub(crate) fn open(&self, model: &ServedModel) {
        let _ = self.model.set(model.clone()); // a server has one model
    }

    /// Returns the labels of the program. Unknown values are empty.
    fn labels(&self) -> [(&'static str, String); 4] {
        let build = &self.build;
        let device_code = self.model.get().map(|model| model.device_code.join(","));
        [
            ("version", build.version.clone()),
            ("commit", build.commit.clone().unwrap_or_default()),
            ("features", build.features.join(",")),
            ("device_code", device_code.unwrap_or_default()),
        ]
    }
}

impl Collector for EngineMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "The program, and the code that computes the model";
        let mut metric = encoder.encode_descriptor("build", help, None, MetricType::Info)?;
        metric.encode_info(&self.labels())?;
        let now = self.model.get().map(|model| model.engine.metrics());
        let now = now.unwrap_or_default();
        for (name, help, value) in [
            ("batch_size", "Sequences that run", now.running),
            ("queue_length", "Requests that wait", now.waiting),
            (
                "cache_blocks_used",
                "Blocks of the key/value cache in use",
                now.cache_blocks_used,
            ),
            (
                "cache_blocks",
                "Blocks of the key/value cache",
                now.cache_blocks,
            ),
        ] {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            metric.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))?;
        }
        for (name, help, value) in [
            (
                "prefilled_tokens",
                "Tokens of prompts that the model processed",
                now.prefilled_tokens,
            ),
            (
                "prefix_hits",
                "Requests with tokens of their prompt in the cache",
                now.reused_requests,
            ),
            (
                "preemptions",
                "Running sequences that waited again, because the cache was full",
                now.preemptions,
            ),
            (
                "drafted_tokens",
                "Draft tokens verified by speculative decoding",
                now.drafted_tokens,
            ),
            (
                "accepted_tokens",
                "Draft tokens that became part of an answer",
                now.accepted_tokens,
            ),
        ] {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        for (name, help, histogram) in [
            (
                "queue_time",
                "From a request's arrival until it runs",
                now.queue_time,
            ),
            (
                "time_to_first_token",
                "From a request's arrival until its first token",
                now.first_token_time,
            ),
            (
                "time_between_tokens",
                "From one token of an answer to the next",
                now.inter_token_time,
            ),
        ] {
            write(&mut encoder, name, help, &histogram)?;
        }
        Ok(())
    }
}

fn write(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    histogram: &Histogram,
) -> fmt::Result {
    let (unit, kind) = (Unit::Seconds, MetricType::Histogram);
    let mut metric = encoder.encode_descriptor(name, help, Some(&unit), kind)?;
    let buckets: Vec<_> = histogram.buckets().collect();
    let (sum, count) = (histogram.sum_s(), histogram.count());
    metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}
