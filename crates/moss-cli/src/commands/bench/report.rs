//! What was measured, for people and for programs.

use moss::{
    cpu::{Activations, cpu_features},
    cuda::GpuInfo,
    model::{DeviceInfo, StageInfo},
};
use moss_bench::{LoadTimer, concurrency::Served, model_timing::ConversationTimes};
use serde_json::{Value, json};

use super::timeline::Timeline;
use crate::messages::{Language, Words, size};

/// Heads of the table, in English and in Chinese.
const COLUMNS: (&str, &str) = (
    "  prompt  prefill ms  tok/s    decode ms   tok/s     GB/s   share\n",
    "    提示   预填充 ms   tok/s     解码 ms   tok/s     GB/s    占比\n",
);

pub(super) struct Report {
    pub(super) name: Words,
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
        let mut text = format!("{}\n", self.name.of(language));
        for (index, stage) in self.stages.iter().enumerate() {
            let (first, last) = (stage.layers.start, stage.layers.end - 1);
            let what = match &stage.gpu {
                Some(card) => card_text(card),
                None => self.cpu_text(),
            };
            let (device, weights, what) =
                (stage.device, size(stage.weight_bytes), what.of(language));
            text += &language.pick(
                format!("  stage {index}  {device}, layers {first} to {last}, {weights} a token; {what}\n"),
                format!("  阶段 {index}  {device}，第 {first} 至 {last} 层，每词元 {weights}；{what}\n"),
            );
        }
        text += self.loading_text().of(language);
        let bandwidth = gb(self.bandwidth);
        text += &language.pick(
            format!("  bandwidth {bandwidth:.1} GB/s (the memory's own, measured in this run)\n"),
            format!("  带宽 {bandwidth:.1} GB/s（内存自身的，本次实测）\n"),
        );
        text += language.pick(COLUMNS.0, COLUMNS.1);
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

    fn cpu_text(&self) -> Words {
        let (threads, isa) = (self.threads, cpu_features());
        let (rounded, rounded_zh) = match self.activations {
            Activations::Exact => ("", ""),
            Activations::Int8 => (", 8-bit activations", "，8 位激活值"),
        };
        Words::from((
            format!("{threads} threads, {isa}{rounded}"),
            format!("{threads} 线程，{isa}{rounded_zh}"),
        ))
    }

    fn loading_text(&self) -> Words {
        let seconds = self.loading.seconds;
        let (mut en, mut zh) = (
            format!("  loaded in {seconds:.2} s"),
            format!("  加载用时 {seconds:.2} s"),
        );
        if let Some((seconds, rate)) = self.loading.gpu_weights() {
            let rate = gb(rate);
            en += &format!(", the weights of the cards in {seconds:.2} s, {rate:.1} GB/s");
            zh += &format!("，其中显卡权重 {seconds:.2} s，{rate:.1} GB/s");
        }
        if let Some(rate) = self.upload.map(gb) {
            en += &format!(
                "; host memory to the card {rate:.1} GB/s (page-locked, measured in this run)"
            );
            zh += &format!("；主机内存到显卡 {rate:.1} GB/s（页锁定，本次实测）");
        }
        Words::from((en + "\n", zh + "\n"))
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
            "model": self.name.en, "threads": self.threads, "isa": cpu_features().to_string(),
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

fn card_text(card: &DeviceInfo) -> Words {
    let GpuInfo {
        name,
        code,
        driver_cuda,
        ..
    } = &card.gpu;
    let cuda = format!("{}.{}", driver_cuda / 1000, driver_cuda % 1000 / 10);
    let clocks = [card.gpu.clock_khz, card.gpu.memory_clock_khz];
    let [clock, memory_clock] = clocks.map(|khz| khz / 1000);
    let taken = size(card.free_before.saturating_sub(card.free_now));
    let free = size(card.free_before);
    let others = size(card.gpu.total_memory.saturating_sub(card.free_before));
    Words::from((
        format!(
            "{name}, {code} code, driver for CUDA {cuda}, clocks up to {clock} and {memory_clock} MHz; {taken} taken of {free} free, {others} by others and the idle context"
        ),
        format!(
            "{name}，{code} 代码，驱动支持 CUDA {cuda}，时钟最高 {clock} 和 {memory_clock} MHz；可用 {free}，占用其中 {taken}，其他程序和空闲上下文占 {others}"
        ),
    ))
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
    language.pick(
        format!(
            "  {clients:>4} at once, {prompt} prompt and {new} new tokens each: {rate:.1} tok/s in all, first token after {median:.0} ms, at most {longest:.0} ms\n"
        ),
        format!(
            "  {clients:>4} 个同时提问，各 {prompt} 个提示词元和 {new} 个新词元：合计 {rate:.1} tok/s，首个词元需 {median:.0} ms，最长 {longest:.0} ms\n"
        ),
    )
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

    /// Of the English ones one ends a place early.
    #[test]
    fn the_chinese_heads_end_where_their_numbers_do() {
        let numbers = format!(
            "  {0:>6}  {0:>10}  {0:>6}  {0:>10}  {0:>6}  {0:>7}  {0:>6}\n",
            "#"
        );
        let ends = |line: &str| -> Vec<usize> {
            let cells = line.split("  ").filter(|cell| !cell.is_empty());
            let end = |cell: &str| {
                line[..cell.as_ptr() as usize - line.as_ptr() as usize + cell.trim_end().len()]
                    .width()
            };
            cells.map(end).collect()
        };
        assert_eq!(ends(COLUMNS.1), ends(&numbers));
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
        let Words { zh, .. } = card_text(&card);
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
