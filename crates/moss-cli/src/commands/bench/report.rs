//! What was measured, for people and for programs.

use moss::{
    cpu::{Activations, cpu_features},
    cuda::GpuInfo,
    model::{DeviceInfo, StageInfo},
};
use moss_bench::{LoadTimer, concurrency::Served, model_timing::ConversationTimes};
use moss_messages::{Language, Text, msg};
use serde_json::{Value, json};

use super::timeline::Timeline;
use crate::{fold::right, messages::size};

/// Places of the columns of the table.
const WIDTHS: [usize; 7] = [8, 12, 8, 12, 8, 9, 8];

pub(super) struct Report {
    pub(super) name: Text,
    pub(super) threads: usize,
    pub(super) activations: Activations,
    pub(super) loading: LoadTimer,
    /// Bytes a second from page-locked host memory to a card.
    pub(super) upload: Option<f64>,
    /// Bytes a second, measured in this run.
    pub(super) bandwidth: f64,
    pub(super) measured: Vec<ConversationTimes>,
    /// What several clients got at once.
    pub(super) served: Vec<Served>,
    pub(super) timelines: Vec<Timeline>,
    pub(super) stages: Vec<StageInfo>,
}

impl Report {
    pub(super) fn text(&self, language: Language) -> String {
        let mut text = format!("{}\n", language.text(&self.name));
        for (index, stage) in self.stages.iter().enumerate() {
            let (first, last) = (stage.layers.start, stage.layers.end - 1);
            let what = match &stage.gpu {
                Some(card) => card_text(card),
                None => self.cpu_text(),
            };
            let (device, weights) = (stage.device.to_string(), size(stage.weight_bytes));
            text += &format!(
                "  {}\n",
                language.text(&msg!(
                    "bench-stage",
                    index,
                    device,
                    first,
                    last,
                    weights,
                    what
                ))
            );
        }
        text += &format!("  {}\n", language.text(&self.loading_text()));
        let bandwidth = gb(self.bandwidth);
        text += &format!("  {}\n", language.text(&msg!("bench-bandwidth", bandwidth)));
        text += &heads(language);
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
        text.extend(
            self.served
                .iter()
                .map(|served| served_text(served, language)),
        );
        text.extend(
            self.timelines
                .iter()
                .map(|timeline| timeline.text(language)),
        );
        text
    }

    fn cpu_text(&self) -> Text {
        let (threads, isa) = (self.threads, cpu_features().to_string());
        match self.activations {
            Activations::Exact => msg!("bench-cpu", threads, isa),
            Activations::Int8 => msg!("bench-cpu-int8", threads, isa),
        }
    }

    fn loading_text(&self) -> Text {
        let mut loaded = msg!("bench-loaded", seconds = self.loading.seconds);
        if let Some((seconds, rate)) = self.loading.gpu_weights() {
            loaded = msg!("bench-loaded-gpus", loaded, seconds, rate = gb(rate));
        }
        match self.upload.map(gb) {
            Some(rate) => msg!("bench-upload", loaded, rate),
            None => loaded,
        }
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
            let card = stage.gpu.as_ref().map(card_json);
            json!({
                "device": stage.device.to_string(), "layers": [stage.layers.start, stage.layers.end],
                "weight_bytes_per_token": stage.weight_bytes, "card": card,
            })
        });
        json!({
            "model": self.name.to_string(), "threads": self.threads, "isa": cpu_features().to_string(),
            "activations": match self.activations { Activations::Exact => "exact", Activations::Int8 => "int8" },
            "load_s": self.loading.seconds, "card_weights_s": self.loading.gpu_weights().map(|(seconds, _)| seconds),
            "card_weights_bytes_per_s": self.loading.gpu_weights().map(|(_, rate)| rate), "upload_bandwidth": self.upload,
            "bandwidth": self.bandwidth, "contexts": contexts.collect::<Vec<_>>(), "stages": stages.collect::<Vec<_>>(),
            "clients": self.served.iter().map(served_json).collect::<Vec<_>>(),
            "timelines": self.timelines.iter().map(Timeline::json).collect::<Vec<_>>(),
        })
    }
}

fn gb(rate: f64) -> f64 {
    rate / 1e9
}

/// The heads of the table.
fn heads(language: Language) -> String {
    let heads = language.text(&msg!("bench-columns"));
    let cells = heads.split(" | ").zip(WIDTHS);
    let cells: String = cells.map(|(head, width)| right(head, width)).collect();
    cells + "\n"
}

fn card_text(card: &DeviceInfo) -> Text {
    let GpuInfo {
        name,
        code,
        driver_cuda: cuda,
        ..
    } = &card.gpu;
    let clocks = [card.gpu.clock_khz, card.gpu.memory_clock_khz];
    let [clock, memory_clock] = clocks.map(|khz| khz / 1000);
    let taken = size(card.free_before.saturating_sub(card.free_now));
    let free = size(card.free_before);
    let others = size(card.gpu.total_memory.saturating_sub(card.free_before));
    msg!(
        "bench-gpu",
        name,
        code = code.to_string(),
        cuda,
        clock,
        memory_clock,
        taken,
        free,
        others
    )
}

fn card_json(card: &DeviceInfo) -> Value {
    let gpu = &card.gpu;
    json!({
        "name": gpu.name, "code": gpu.code.to_string(), "driver_cuda": gpu.driver_cuda, "clock_khz": gpu.clock_khz,
        "memory_clock_khz": gpu.memory_clock_khz, "total_memory": gpu.total_memory,
        "free_before": card.free_before, "free_now": card.free_now,
        "taken": card.free_before.saturating_sub(card.free_now),
    })
}

fn served_text(served: &Served, language: Language) -> String {
    let Served {
        clients,
        prompt,
        new,
        first_s,
        ..
    } = served;
    let (rate, [median, longest]) = (served.tokens_per_s(), first_s.map(|seconds| seconds * 1e3));
    let clients = format!("{clients:>4}");
    let text = msg!("bench-clients", clients, prompt, new, rate, median, longest);
    format!("  {}\n", language.text(&text))
}

fn served_json(served: &Served) -> Value {
    json!({
        "clients": served.clients, "prompt": served.prompt, "new": served.new, "seconds": served.seconds,
        "tokens_per_s": served.tokens_per_s(), "first_token_s": served.first_s[0], "first_token_max_s": served.first_s[1],
    })
}

#[cfg(test)]
mod tests {
    use moss::cuda::GpuCode;
    use unicode_width::UnicodeWidthStr;

    use super::*;

    #[test]
    fn the_heads_of_both_languages_end_where_their_numbers_do() {
        for language in Language::ALL {
            let heads = heads(language);
            assert_eq!(
                heads.trim_end().width(),
                WIDTHS.iter().sum::<usize>(),
                "{heads}"
            );
        }
    }

    #[test]
    fn a_card_is_told_in_chinese_with_the_same_names_and_numbers() {
        let card = DeviceInfo {
            gpu: GpuInfo {
                ordinal: 0,
                name: "T4".into(),
                capability: 75,
                code: GpuCode::Machine(75),
                multiprocessors: 40,
                total_memory: 16_000_000_000,
                l2_bytes: 4 << 20,
                clock_khz: 1_590_000,
                memory_clock_khz: 5_001_000,
                memory_bus_bits: 256,
                ecc: true,
                pci: (0, 0, 30),
                driver_cuda: 12_080,
            },
            free_before: 15_000_000_000,
            free_now: 4_000_000_000,
        };
        let zh = Language::Zh.text(&card_text(&card));
        for part in [
            "T4，sm_75 代码",
            "CUDA 12.8，",
            "1590 和 5001 MHz",
            "可用 15.00 GB，占用其中 11.00 GB，",
            "占 1.00 GB",
        ] {
            assert!(zh.contains(part), "{part}: {zh}");
        }
    }
}
