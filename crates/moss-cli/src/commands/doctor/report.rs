//! What was found, for people in both languages, and for programs.

use moss::{cuda::GpuInfo, model::CUDA};
use moss_bench::{DeviceReport, parity::CaseReport};
use serde_json::{Value, json};

use super::{
    Report,
    cards::CardState,
    machine::Place,
    selftest::{Kernels, Selftest, Transcript},
};
use crate::{
    fold::left,
    messages::{Language, size},
};

/// Places of a label on a terminal.
const LABEL: usize = 12;

/// Findings of a failed self-test that are listed one by one; JSON has them all.
const LISTED: usize = 20;

/// Lines of one language.
struct Lines {
    language: Language,
    text: String,
}

impl Lines {
    /// A label, empty in the second line of a part, and what there is to say.
    fn line(&mut self, label: (&str, &str), en: String, zh: String) {
        let (label, value) = (
            self.language.pick(label.0, label.1),
            self.language.pick(en, zh),
        );
        self.text += &format!("{}{value}\n", left(label, LABEL));
    }

    fn same(&mut self, label: (&str, &str), value: String) {
        self.line(label, value.clone(), value);
    }
}

const GO_ON: (&str, &str) = ("", "");

fn cuda_version(version: u32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

impl Report {
    pub(super) fn text(&self, language: Language) -> String {
        let mut lines = Lines {
            language,
            text: String::new(),
        };
        let version = env!("CARGO_PKG_VERSION");
        lines.line(
            ("program", "程序"),
            format!(
                "moss-cli {version}, {}",
                if CUDA {
                    "with CUDA"
                } else {
                    "for the CPU alone"
                }
            ),
            format!(
                "moss-cli {version}，{}",
                if CUDA { "含 CUDA" } else { "仅 CPU" }
            ),
        );
        let cpu = &self.processor;
        let read = cpu.read_bandwidth / 1e9;
        lines.line(
            ("CPU", "CPU"),
            format!(
                "{} threads, {}; reads {read:.1} GB/s (measured)",
                cpu.threads, cpu.isa
            ),
            format!(
                "{} 线程，{}；读取 {read:.1} GB/s（实测）",
                cpu.threads, cpu.isa
            ),
        );
        self.terminal(&mut lines);
        self.places(&mut lines);
        self.cards(&mut lines);
        self.rooflines(&mut lines);
        if let Some(selftest) = &self.selftest {
            tested(&mut lines, selftest);
        }
        lines.text
    }

    fn terminal(&self, lines: &mut Lines) {
        let terminal = &self.terminal;
        let encoding = terminal.encoding.as_deref().unwrap_or("-");
        let locale = terminal.locale.as_deref().unwrap_or("-");
        let label = ("terminal", "终端");
        match terminal.is_utf8() {
            true => lines.line(
                label,
                format!("UTF-8 ({encoding}), messages by the locale {locale}"),
                format!("UTF-8（{encoding}），消息语言取自区域设置 {locale}"),
            ),
            false => lines.line(
                label,
                format!("not UTF-8 ({encoding}): Chinese may not show; `export LANG=C.UTF-8`"),
                format!("不是 UTF-8（{encoding}）：中文可能无法显示；请 `export LANG=zh_CN.UTF-8`"),
            ),
        }
    }

    fn places(&self, lines: &mut Lines) {
        let mut label = ("models in", "模型位置");
        for Place { folder, free } in &self.places {
            let (folder, free) = (folder.display(), free.map_or_else(|| "?".into(), size));
            lines.line(
                label,
                format!("{folder}, {free} free"),
                format!("{folder}，可用 {free}"),
            );
            label = GO_ON;
        }
        for model in &self.models {
            let name = model.name;
            match &model.folder {
                Some(folder) => lines.same(GO_ON, format!("{name}: {}", folder.display())),
                None => lines.line(
                    GO_ON,
                    format!("{name}: not here"),
                    format!("{name}：未找到"),
                ),
            }
        }
    }

    fn cards(&self, lines: &mut Lines) {
        match &self.driver {
            Some(driver) => lines.same(("driver", "驱动"), driver.version.clone()),
            None => lines.line(
                ("driver", "驱动"),
                "no NVIDIA driver found".into(),
                "未发现 NVIDIA 驱动".into(),
            ),
        }
        for card in self.driver.iter().flat_map(|driver| &driver.cards) {
            card.lines(lines);
        }
        if !CUDA {
            return;
        }
        let mut label = ("libraries", "CUDA 库");
        for library in &self.libraries {
            lines.same(label, library.clone());
            label = GO_ON;
        }
        if let Some(reason) = &self.cublas_missing {
            lines.line(
                ("cuBLAS", "cuBLAS"),
                format!("not found, and needed for prompts of fp16 models, and of all models on GPUs before sm_90: {reason}"),
                format!("未找到；fp16 模型以及 sm_90 之前的 GPU 处理输入时需要它：{reason}"),
            );
        }
        match &self.cards {
            Ok(cards) => cards.iter().for_each(|card| kernels_of(lines, card)),
            Err(error) => lines.line(
                ("kernels", "内核"),
                format!("no card to run on: {error}"),
                format!("没有可用的显卡：{}", error.zh()),
            ),
        }
    }

    fn rooflines(&self, lines: &mut Lines) {
        let mut label = ("at most", "速度上限");
        for roofline in &self.rooflines {
            let mut devices: Vec<(String, f64)> = Vec::new();
            for card in self.cards.iter().flatten() {
                devices.extend(
                    card.copy_bandwidth
                        .iter()
                        .map(|rate| (format!("GPU {}", card.info.ordinal), *rate)),
                );
            }
            devices.push(("CPU".into(), self.processor.read_bandwidth));
            let rate = |(device, bandwidth): &(String, f64)| {
                format!("{device} {:.1} tok/s", roofline.rate(*bandwidth))
            };
            let rates: Vec<_> = devices.iter().map(rate).collect();
            let (format, bytes) = (&roofline.format, size(roofline.bytes));
            lines.line(
                label,
                format!("{format}, {bytes} a token: {}", rates.join(", ")),
                format!("{format}，每词元 {bytes}：{}", rates.join("，")),
            );
            label = GO_ON;
        }
    }

    pub(super) fn json(&self) -> Value {
        let place = |place: &Place| json!({ "folder": place.folder, "free": place.free });
        let card = |card: &DeviceReport| {
            let info = &card.info;
            let rates = self.rooflines.iter().map(|roofline| {
                let rate = card
                    .copy_bandwidth
                    .as_ref()
                    .ok()
                    .map(|bandwidth| roofline.rate(*bandwidth));
                (roofline.format.clone(), json!(rate))
            });
            json!({
                "gpu": info.ordinal, "name": info.name, "compute_capability": info.capability, "code": info.code.to_string(),
                "driver_cuda": info.driver_cuda, "total": info.total_memory, "free": card.free, "ecc": info.ecc,
                "clock_mhz": info.clock_khz / 1000, "memory_clock_mhz": info.memory_clock_khz / 1000,
                "copy_bandwidth": card.copy_bandwidth.as_ref().ok(),
                "error": card.copy_bandwidth.as_ref().err().map(ToString::to_string),
                "tokens_per_s_at_most": rates.collect::<serde_json::Map<_, _>>(),
            })
        };
        let on_cpu = self.rooflines.iter().map(|roofline| {
            (
                roofline.format.clone(),
                json!(roofline.rate(self.processor.read_bandwidth)),
            )
        });
        let (terminal, cpu) = (&self.terminal, &self.processor);
        json!({
            "version": env!("CARGO_PKG_VERSION"), "cuda": CUDA,
            "cpu": {
                "threads": cpu.threads, "isa": cpu.isa, "read_bandwidth": cpu.read_bandwidth,
                "tokens_per_s_at_most": on_cpu.collect::<serde_json::Map<_, _>>(),
            },
            "terminal": {
                "encoding": terminal.encoding, "utf8": terminal.is_utf8(), "locale": terminal.locale,
                "stdout": terminal.is_terminal[0], "stderr": terminal.is_terminal[1],
            },
            "places": self.places.iter().map(place).collect::<Vec<_>>(),
            "models": self.models.iter().map(|model| json!({ "name": model.name, "folder": model.folder })).collect::<Vec<_>>(),
            "driver": self.driver.as_ref().map(|driver| {
                json!({ "version": driver.version, "cards": driver.cards.iter().map(CardState::json).collect::<Vec<_>>() })
            }),
            "libraries": self.libraries,
            "kernels": self.cards.as_ref().ok().map(|cards| cards.iter().map(card).collect::<Vec<_>>()),
            "kernels_error": self.cards.as_ref().err().map(ToString::to_string),
            "bytes_per_token": self.rooflines.iter().map(|roofline| (roofline.format.clone(), json!(roofline.bytes))).collect::<serde_json::Map<_, _>>(),
            "selftest": self.selftest.as_ref().map(Selftest::json),
        })
    }
}

impl CardState {
    fn lines(&self, lines: &mut Lines) {
        let mut said = (vec![self.name.clone()], vec![self.name.clone()]);
        let mut say = |en: String, zh: String| {
            said.0.push(en);
            said.1.push(zh);
        };
        if let Some(bus) = &self.bus {
            say(format!("at {bus}"), bus.clone());
        }
        if let Some((major, minor)) = self.capability {
            say(
                format!("compute capability {major}.{minor}"),
                format!("计算能力 {major}.{minor}"),
            );
        }
        if let Some((free, total)) = self.memory {
            let (free, total) = (size(free), size(total));
            say(
                format!("{free} of {total} free"),
                format!("显存 {total}，可用 {free}"),
            );
        }
        if let [Some((now, most)), Some((memory_now, memory_most))] = self.clocks {
            say(
                format!("clocks {now} of {most} MHz, memory {memory_now} of {memory_most} MHz"),
                format!("时钟 {now}/{most} MHz，显存 {memory_now}/{memory_most} MHz"),
            );
        }
        if let Some(ecc) = self.ecc {
            say(
                format!("ECC {}", if ecc { "on" } else { "off" }),
                format!("ECC {}", if ecc { "开" } else { "关" }),
            );
        }
        if let Some([(generation, lanes), (most, most_lanes)]) = self.pcie {
            let link = format!("PCIe {generation}.0 x{lanes}");
            say(
                format!("{link} of {most}.0 x{most_lanes}"),
                format!("{link}（最高 {most}.0 x{most_lanes}）"),
            );
        }
        if self.nvlinks > 0 {
            say(
                format!("{} NVLinks up", self.nvlinks),
                format!("NVLink {} 条", self.nvlinks),
            );
        }
        lines.line(("card", "显卡"), said.0.join("; "), said.1.join("；"));
    }
}

fn kernels_of(lines: &mut Lines, device: &DeviceReport) {
    let GpuInfo {
        ordinal,
        name,
        code,
        driver_cuda,
        ..
    } = &device.info;
    let offers = cuda_version(*driver_cuda);
    let (en, zh) = match &device.copy_bandwidth {
        Ok(rate) => (
            format!("copies {:.1} GB/s (measured)", rate / 1e9),
            format!("拷贝 {:.1} GB/s（实测）", rate / 1e9),
        ),
        Err(error) => (
            format!("cannot run: {error}"),
            format!("无法运行：{}", error.zh()),
        ),
    };
    lines.line(
        ("kernels", "内核"),
        format!("GPU {ordinal}, {name}: {code} code, driver for CUDA {offers}; {en}"),
        format!("GPU {ordinal}，{name}：{code} 代码，驱动支持 CUDA {offers}；{zh}"),
    );
}

fn tested(lines: &mut Lines, selftest: &Selftest) {
    let mut label = ("self-test", "自检");
    for kernels in &selftest.kernels {
        let Kernels {
            ordinal,
            compared,
            error,
        } = kernels;
        let right = compared.len() - kernels.failed().count();
        let verdict = if kernels.passed() { "PASS" } else { "FAIL" };
        lines.line(
            label,
            format!(
                "{verdict} GPU {ordinal}: {right} of {} kernel cases as on the CPU",
                compared.len()
            ),
            format!(
                "{verdict} GPU {ordinal}：{} 个内核用例中 {right} 个与 CPU 一致",
                compared.len()
            ),
        );
        label = GO_ON;
        for found in kernels.failed().take(LISTED) {
            let CaseReport {
                kernel,
                shape,
                max_error,
                allowed,
                reason,
                repeats,
                ..
            } = found;
            let (en, zh) = if *repeats {
                ("", "")
            } else {
                (", other bits every time", "，每次结果不同")
            };
            lines.line(
                GO_ON,
                format!(
                    "  {kernel} ({shape}): {max_error:.1e}, allowed {allowed:.1e} ({reason}){en}"
                ),
                format!(
                    "  {kernel}（{shape}）：{max_error:.1e}，允许 {allowed:.1e}（{reason}）{zh}"
                ),
            );
        }
        if let Some(error) = error {
            lines.line(GO_ON, format!("  {error}"), format!("  {}", error.zh()));
        }
    }
    for Transcript {
        device,
        format,
        wrong,
    } in &selftest.transcripts
    {
        let verdict = if wrong.is_empty() { "PASS" } else { "FAIL" };
        let device = if device == "cpu" {
            "CPU".to_owned()
        } else {
            format!("GPU {device}")
        };
        lines.line(
            label,
            format!("{verdict} {device}: transcript of the {format} demo model"),
            format!("{verdict} {device}：{format} 演示模型的对话"),
        );
        label = GO_ON;
        for (question, said) in wrong {
            lines.same(GO_ON, format!("  {question} -> {said}"));
        }
    }
}
