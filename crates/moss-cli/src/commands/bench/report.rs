//! What was measured, for people and for programs.

use moss::{
    kernels::{Activations, cpu_features},
    model::{CardInfo, StageInfo},
};
use serde_json::{Value, json};

use super::{clients::Served, loading::Loading, measure::Measured, timeline::Timeline};
use crate::progress::size;

pub(super) struct Report {
    pub(super) name: String,
    pub(super) threads: usize,
    pub(super) activations: Activations,
    pub(super) loading: Loading,
    /// Bytes a second from page-locked host memory to a card.
    pub(super) upload: Option<f64>,
    /// Bytes a second, measured in this run.
    pub(super) bandwidth: f64,
    pub(super) measured: Vec<Measured>,
    /// What several clients got at once.
    pub(super) served: Vec<Served>,
    pub(super) timelines: Vec<Timeline>,
    pub(super) stages: Vec<StageInfo>,
}

impl Report {
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n", self.name);
        for (index, stage) in self.stages.iter().enumerate() {
            let (first, last) = (stage.layers.start, stage.layers.end - 1);
            let what = match &stage.card {
                Some(card) => card_text(card),
                None => {
                    let rounded = match self.activations {
                        Activations::Exact => "",
                        Activations::Int8 => ", 8-bit activations",
                    };
                    format!("{} threads, {}{rounded}", self.threads, cpu_features())
                }
            };
            let weights = size(stage.weight_bytes);
            let device = stage.device;
            text +=
                &format!("  stage {index}  {device}, layers {first} to {last}, {weights} a token; {what}\n");
        }
        let gb = |rate: f64| rate / 1e9;
        let weights = self.loading.of_cards().map_or(String::new(), |(seconds, rate)| {
            format!(", the weights of the cards in {seconds:.2} s, {:.1} GB/s", gb(rate))
        });
        let upload = self.upload.map_or(String::new(), |rate| {
            format!("; host memory to the card {:.1} GB/s (page-locked, measured in this run)", gb(rate))
        });
        text += &format!("  loaded in {:.2} s{weights}{upload}\n", self.loading.seconds);
        text +=
            &format!("  bandwidth {:.1} GB/s (the memory's own, measured in this run)\n", gb(self.bandwidth));
        text += "  prompt  prefill ms  tok/s    decode ms   tok/s     GB/s   share\n";
        for m in &self.measured {
            let rate = m.token_bytes / m.token_s;
            text += &format!(
                "  {:>6}  {:>10.2}  {:>6.0}  {:>10.3}  {:>6.1}  {:>7.1}  {:>6.3}\n",
                m.prompt,
                m.prefill_s * 1e3,
                m.prompt as f64 / m.prefill_s,
                m.token_s * 1e3,
                1.0 / m.token_s,
                gb(rate),
                rate / self.bandwidth,
            );
        }
        text += &self.served.iter().map(Served::text).collect::<String>();
        text + &self.timelines.iter().map(Timeline::text).collect::<String>()
    }

    pub(super) fn json(&self) -> Value {
        let contexts = self.measured.iter().map(|m| {
            let rate = m.token_bytes / m.token_s;
            json!({
                "prompt": m.prompt, "new": m.new, "prefill_s": m.prefill_s,
                "prefill_tokens_per_s": m.prompt as f64 / m.prefill_s, "decode_s_per_token": m.token_s,
                "decode_tokens_per_s": 1.0 / m.token_s, "bytes_per_token": m.token_bytes,
                "decode_bytes_per_s": rate, "share": rate / self.bandwidth,
            })
        });
        let stages = self.stages.iter().map(|stage| {
            let card = stage.card.as_ref().map(card_json);
            json!({
                "device": stage.device.to_string(), "layers": [stage.layers.start, stage.layers.end],
                "weight_bytes_per_token": stage.weight_bytes, "card": card,
            })
        });
        json!({
            "model": self.name, "threads": self.threads, "isa": cpu_features().to_string(),
            "activations": match self.activations { Activations::Exact => "exact", Activations::Int8 => "int8" },
            "load_s": self.loading.seconds, "card_weights_s": self.loading.of_cards().map(|(seconds, _)| seconds),
            "card_weights_bytes_per_s": self.loading.of_cards().map(|(_, rate)| rate), "upload_bandwidth": self.upload,
            "bandwidth": self.bandwidth, "contexts": contexts.collect::<Vec<_>>(), "stages": stages.collect::<Vec<_>>(),
            "clients": self.served.iter().map(Served::json).collect::<Vec<_>>(),
            "timelines": self.timelines.iter().map(Timeline::json).collect::<Vec<_>>(),
        })
    }
}

fn card_text(card: &CardInfo) -> String {
    format!(
        "{}, {} code, driver for CUDA {}.{}, clocks up to {} and {} MHz; {} taken of {} free, {} by others and the idle context",
        card.name,
        card.code,
        card.driver_cuda / 1000,
        card.driver_cuda % 1000 / 10,
        card.clock_khz / 1000,
        card.memory_clock_khz / 1000,
        size(card.free_before.saturating_sub(card.free_now)),
        size(card.free_before),
        size(card.total_memory.saturating_sub(card.free_before)),
    )
}

fn card_json(card: &CardInfo) -> Value {
    json!({
        "name": card.name, "code": card.code, "driver_cuda": card.driver_cuda, "clock_khz": card.clock_khz,
        "memory_clock_khz": card.memory_clock_khz, "total_memory": card.total_memory,
        "free_before": card.free_before, "free_now": card.free_now,
        "taken": card.free_before.saturating_sub(card.free_now),
    })
}
