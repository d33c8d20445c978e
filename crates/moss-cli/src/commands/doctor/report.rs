//! The report of `doctor`, as text and as JSON.

use moss::{cuda::GpuInfo, model::CUDA};
use moss_bench::{DeviceReport, parity::CaseReport};
use moss_messages::{Language, Text, msg};
use serde_json::{Value, json};

use super::{
    Report,
    machine::Place,
    nvml::GpuState,
    selftest::{Kernels, Selftest, Transcript},
};
use crate::{fold::left, messages::size};

/// Width of a label on a terminal.
const LABEL: usize = 12;

/// Maximum number of findings of a self-test in the text. JSON has all of them.
const LISTED: usize = 20;

/// The text in one language.
struct Lines {
    language: Language,
    text: String,
}

impl Lines {
    /// Adds a label and a value.
    fn line(&mut self, label: Text, value: Text) {
        let [label, value] = [label, value].map(|text| self.language.text(&text));
        self.text += &format!("{}{value}\n", left(&label, LABEL));
    }

    /// Adds a line without a label.
    fn more(&mut self, value: Text) {
        let value = self.language.text(&value);
        self.text += &format!("{}{value}\n", left("", LABEL));
    }

    /// Adds several lines with one label.
    fn part(&mut self, label: Text, values: impl IntoIterator<Item = Text>) {
        let mut values = values.into_iter();
        if let Some(first) = values.next() {
            self.line(label, first);
        }
        values.for_each(|value| self.more(value));
    }
}

impl Report {
    pub(super) fn text(&self, language: Language) -> String {
        let mut lines = Lines {
            language,
            text: String::new(),
        };
        let version = env!("CARGO_PKG_VERSION");
        let program = if CUDA {
            msg!("doctor-with-cuda", version)
        } else {
            msg!("doctor-cpu-only", version)
        };
        lines.line(msg!("doctor-program"), program);
        let cpu = &self.processor;
        let (rate, isa) = (cpu.read_bandwidth / 1e9, cpu.isa.to_string());
        let cpu = msg!("doctor-cpu", threads = cpu.threads, isa, rate);
        lines.line(msg!("plain", value = "CPU"), cpu);
        self.terminal(&mut lines);
        self.places(&mut lines);
        self.gpus(&mut lines);
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
        let state = if terminal.is_utf8() {
            msg!("doctor-utf8", encoding, locale)
        } else {
            msg!("doctor-not-utf8", encoding)
        };
        lines.line(msg!("doctor-terminal"), state);
    }

    fn places(&self, lines: &mut Lines) {
        let place = |Place { folder, free }: &Place| {
            let free = free.map_or_else(|| "?".into(), size);
            msg!("doctor-place", folder, free)
        };
        lines.part(msg!("doctor-models"), self.places.iter().map(place));
        for model in &self.models {
            let name = model.name;
            lines.more(match &model.folder {
                Some(folder) => msg!("plain", value = format!("{name}: {}", folder.display())),
                None => msg!("doctor-not-here", name),
            });
        }
    }

    fn gpus(&self, lines: &mut Lines) {
        let driver = match &self.driver {
            Some(driver) => msg!("plain", value = driver.version),
            None => msg!("doctor-no-driver"),
        };
        lines.line(msg!("doctor-driver"), driver);
        for gpu in self.driver.iter().flat_map(|driver| &driver.gpus) {
            gpu.lines(lines);
        }
        if !CUDA {
            return;
        }
        let libraries = self.libraries.iter();
        let libraries = libraries.map(|library| msg!("plain", value = library));
        lines.part(msg!("doctor-libraries"), libraries);
        if let Some(reason) = &self.cublas_missing {
            let missing = msg!("doctor-no-cublas", reason);
            lines.line(msg!("plain", value = "cuBLAS"), missing);
        }
        match &self.gpus {
            Ok(gpus) => gpus.iter().for_each(|gpu| kernels_of(lines, gpu)),
            Err(error) => lines.line(msg!("doctor-kernels"), msg!("doctor-no-gpu", error)),
        }
    }

    fn rooflines(&self, lines: &mut Lines) {
        let mut devices: Vec<(String, f64)> = Vec::new();
        for gpu in self.gpus.iter().flatten() {
            devices.extend(
                gpu.copy_bandwidth
                    .iter()
                    .map(|rate| (format!("GPU {}", gpu.info.ordinal), *rate)),
            );
        }
        devices.push(("CPU".into(), self.processor.read_bandwidth));
        let rooflines = self.rooflines.iter().map(|roofline| {
            let rate = |(device, bandwidth): &(String, f64)| {
                format!("{device} {:.1} tok/s", roofline.rate(*bandwidth))
            };
            let rates: Vec<_> = devices.iter().map(rate).collect();
            let (format, bytes) = (&roofline.format, size(roofline.bytes));
            msg!("doctor-rates", format, bytes, rates = rates.join(", "))
        });
        lines.part(msg!("doctor-upper-bound"), rooflines);
    }

    pub(super) fn json(&self) -> Value {
        let place = |place: &Place| json!({ "folder": place.folder, "free": place.free });
        let device = |gpu: &DeviceReport| {
            let info = &gpu.info;
            let rates = self.rooflines.iter().map(|roofline| {
                let rate = gpu
                    .copy_bandwidth
                    .as_ref()
                    .ok()
                    .map(|bandwidth| roofline.rate(*bandwidth));
                (roofline.format.clone(), json!(rate))
            });
            json!({
                "gpu": info.ordinal, "name": info.name, "compute_capability": info.capability, "code": info.code.to_string(),
                "driver_cuda": info.driver_cuda, "total": info.total_memory, "free": gpu.free, "ecc": info.ecc,
                "clock_mhz": info.clock_khz / 1000, "memory_clock_mhz": info.memory_clock_khz / 1000,
                "copy_bandwidth": gpu.copy_bandwidth.as_ref().ok(),
                "error": gpu.copy_bandwidth.as_ref().err().map(ToString::to_string),
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
                let gpus: Vec<_> = driver.gpus.iter().map(GpuState::json).collect();
                json!({ "version": driver.version, "cards": gpus }) // idiom-ok: published field
            }),
            "libraries": self.libraries,
            "kernels": self.gpus.as_ref().ok().map(|gpus| gpus.iter().map(device).collect::<Vec<_>>()),
            "kernels_error": self.gpus.as_ref().err().map(ToString::to_string),
            "bytes_per_token": self.rooflines.iter().map(|roofline| (roofline.format.clone(), json!(roofline.bytes))).collect::<serde_json::Map<_, _>>(),
            "selftest": self.selftest.as_ref().map(Selftest::json),
        })
    }
}

impl GpuState {
    fn lines(&self, lines: &mut Lines) {
        let mut parts = vec![msg!("plain", value = self.name)];
        parts.extend(self.bus.as_ref().map(|bus| msg!("gpu-bus", bus)));
        parts.extend(self.capability.map(|(major, minor)| {
            let capability = format!("{major}.{minor}");
            msg!("gpu-capability", capability)
        }));
        parts.extend(self.memory.map(|(free, total)| {
            let (free, total) = (size(free), size(total));
            msg!("gpu-memory", free, total)
        }));
        if let [Some((now, most)), Some((memory_now, memory_most))] = self.clocks {
            parts.push(msg!("gpu-clocks", now, most, memory_now, memory_most));
        }
        parts.extend(self.ecc.map(|is_on| {
            if is_on {
                msg!("gpu-ecc-on")
            } else {
                msg!("gpu-ecc-off")
            }
        }));
        if let Some([(generation, lanes), (most, most_lanes)]) = self.pcie {
            let link = format!("PCIe {generation}.0 x{lanes}");
            let best = format!("{most}.0 x{most_lanes}");
            parts.push(msg!("gpu-pcie", link, best));
        }
        if self.nvlinks > 0 {
            parts.push(msg!("gpu-nvlinks", count = self.nvlinks));
        }
        lines.line(msg!("doctor-gpu-name"), msg!("plain", value = parts));
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
    let state = match &device.copy_bandwidth {
        Ok(rate) => msg!("doctor-copies", rate = rate / 1e9),
        Err(error) => msg!("doctor-cannot-run", error),
    };
    let code = code.to_string();
    let gpu = msg!(
        "doctor-kernels-of",
        ordinal,
        name,
        code,
        cuda = driver_cuda,
        state
    );
    lines.line(msg!("doctor-kernels"), gpu);
}

fn tested(lines: &mut Lines, selftest: &Selftest) {
    let mut found = Vec::new();
    for kernels in &selftest.kernels {
        let Kernels {
            ordinal,
            compared,
            error,
        } = kernels;
        let (total, right) = (compared.len(), compared.len() - kernels.failed().count());
        let verdict = if kernels.passed() { "PASS" } else { "FAIL" };
        found.push(msg!("doctor-kernel-cases", verdict, ordinal, right, total));
        found.extend(kernels.failed().take(LISTED).map(indented_case));
        found.extend(error.iter().map(|error| msg!("indented", text = error)));
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
        found.push(msg!("doctor-transcript", verdict, device, format));
        let wrong = wrong.iter();
        found.extend(wrong.map(|(question, said)| {
            let text = format!("{question} -> {said}");
            msg!("indented", text)
        }));
    }
    lines.part(msg!("doctor-selftest"), found);
}

/// Returns the line of a failed case.
fn indented_case(found: &CaseReport) -> Text {
    let CaseReport {
        kernel,
        shape,
        max_error,
        allowed,
        reason,
        repeats,
        ..
    } = found;
    let [error, allowed] = [max_error, allowed].map(|number| format!("{number:.1e}"));
    let case = msg!("doctor-case", kernel, shape, error, allowed, reason);
    let text = if *repeats {
        case
    } else {
        msg!("doctor-case-differs", case)
    };
    msg!("indented", text)
}
