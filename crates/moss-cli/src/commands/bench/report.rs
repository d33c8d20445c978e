//! The report of `bench`, as text and as JSON.

use moss::{
    cpu::{Activations, cpu_features},
    cuda::GpuInfo,
    model::{DeviceInfo, KvCacheType, StageInfo},
};
use moss_bench::{
    LoadTimer, concurrency::Served, draft_timing::DraftTimes, model_timing::ConversationTimes,
    reuse::ReuseTimes,
};
use moss_messages::{Language, Text, msg};
use serde_json::{Value, json};

use super::{batch::Batches, clients, draft_times, reuse_times, timeline::Timeline};
use crate::{fold::right, messages::size};

/// Widths of the columns of the table.
const WIDTHS: [usize; 7] = [8, 12, 8, 12, 8, 9, 8];

pub(super) struct Report {
    pub(super) name: Text,
    pub(super) threads: usize,
    pub(super) activations: Activations,
    pub(super) kv_cache: KvCacheType,
    pub(super) loading: LoadTimer,
    /// Bytes per second from pinned host memory to a GPU.
    pub(super) upload: Option<f64>,
    /// Bytes per second, measured in this run.
    pub(super) bandwidth: f64,
    pub(super) measured: Vec<ConversationTimes>,
    /// Results of concurrent requests.
    pub(super) served: Vec<Served>,
    /// Results of `--batch`.
    pub(super) batches: Option<Batches>,
    /// Results of `--drafts`.
    pub(super) drafts: Vec<DraftTimes>,
    /// Results of `--reuse`.
    pub(super) reuse: Vec<ReuseTimes>,
    pub(super) timelines: Vec<Timeline>,
    pub(super) stages: Vec<StageInfo>,
}

impl Report {
    pub(super) fn text(&self, language: Language) -> String {
        let mut text = format!("{}\n", language.text(&self.name));
        for (index, stage) in self.stages.iter().enumerate() {
            let (first, last) = (stage.layers.start, stage.layers.end - 1);
            let what = match &stage.gpu {
                Some(gpu) => gpu_text(gpu),
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
        if !self.measured.is_empty() {
            text += &heads(language);
        }
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
                .map(|served| clients::text(served, language)),
        );
        text.extend(
            self.drafts
                .iter()
                .map(|times| draft_times::text(times, language)),
        );
        text.extend(
            self.reuse
                .iter()
                .map(|times| reuse_times::text(times, language)),
        );
        if let Some(batches) = &self.batches {
            text += &batches.text(self.bandwidth, language);
        }
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
            json!({
                "device": stage.device.to_string(), "layers": [stage.layers.start, stage.layers.end],
                "weight_bytes_per_token": stage.weight_bytes,
                "card": stage.gpu.as_ref().map(gpu_json), // idiom-ok: published field
            })
        });
        let weights = self.loading.gpu_weights();
        let mut report = json!({
            "model": self.name.to_string(), "threads": self.threads, "isa": cpu_features().to_string(),
            "activations": match self.activations { Activations::Exact => "exact", Activations::Int8 => "int8" },
            "kv_cache": match self.kv_cache { KvCacheType::Native => "native", KvCacheType::Int8 => "int8" },
            "load_s": self.loading.seconds,
            "card_weights_s": weights.map(|(seconds, _)| seconds), // idiom-ok: published field
            "card_weights_bytes_per_s": weights.map(|(_, rate)| rate), // idiom-ok: published field
            "upload_bandwidth": self.upload,
            "bandwidth": self.bandwidth, "contexts": contexts.collect::<Vec<_>>(), "stages": stages.collect::<Vec<_>>(),
            "clients": self.served.iter().map(clients::json).collect::<Vec<_>>(),
            "timelines": self.timelines.iter().map(Timeline::json).collect::<Vec<_>>(),
        });
        if let Some(batches) = &self.batches {
            batches.add_json(self.bandwidth, &mut report);
        }
        if !self.reuse.is_empty() {
            report["reuse"] = self.reuse.iter().map(reuse_times::json).collect();
        }
        if !self.drafts.is_empty() {
            report["drafts"] = self.drafts.iter().map(draft_times::json).collect();
        }
        report
    }
}

fn gb(rate: f64) -> f64 {
    rate / 1e9
}

/// Returns the column heads of the table.
fn heads(language: Language) -> String {
    let heads = language.text(&msg!("bench-columns"));
    let cells = heads.split(" | ").zip(WIDTHS);
    let cells: String = cells.map(|(head, width)| right(head, width)).collect();
    cells + "\n"
}

fn gpu_text(info: &DeviceInfo) -> Text {
    let GpuInfo {
        name,
        code,
        driver_cuda: cuda,
        ..
    } = &info.gpu;
    let clocks = [info.gpu.clock_khz, info.gpu.memory_clock_khz];
    let [clock, memory_clock] = clocks.map(|khz| khz / 1000);
    let taken = size(info.free_before.saturating_sub(info.free_now));
    let free = size(info.free_before);
    let others = size(info.gpu.total_memory.saturating_sub(info.free_before));
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

fn gpu_json(info: &DeviceInfo) -> Value {
    let gpu = &info.gpu;
    json!({
        "name": gpu.name, "code": gpu.code.to_string(), "driver_cuda": gpu.driver_cuda, "clock_khz": gpu.clock_khz,
        "memory_clock_khz": gpu.memory_clock_khz, "total_memory": gpu.total_memory,
        "free_before": info.free_before, "free_now": info.free_now,
        "taken": info.free_before.saturating_sub(info.free_now),
    })
}

#[cfg(test)]
mod tests {
    use moss::cuda::GpuCode;
    use unicode_width::UnicodeWidthStr;

    use super::*;

    #[test]
    fn heads_are_aligned_with_their_numbers_in_both_languages() {
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
    fn a_gpu_has_the_same_names_and_numbers_in_chinese() {
        let info = DeviceInfo {
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
        let zh = Language::Zh.text(&gpu_text(&info));
        for part in [
            "T4，sm_75 代码",
            "CUDA 12.8，",
            "1590 和 5001 MHz",
            "空闲显存 15.00 GB，已用其中 11.00 GB，",
            "占用 1.00 GB",
        ] {
            assert!(zh.contains(part), "{part}: {zh}");
        }
    }
}
