//! Bars while the user waits: on a terminal only, on stderr.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use moss::{
    model::LoadEvent,
    quantize::{ConvertEvent, QuantizeEvent},
};

use crate::{messages::Message, printer::Printer};

/// Prompts with fewer new tokens are read before a bar could be seen.
const SHORT_PROMPT: usize = 64;

/// Set up whole before it is drawn for the first time.
fn new_bar(printer: &Printer, template: &str, prefix: String) -> ProgressBar {
    let bar = if printer.draws { ProgressBar::new(0) } else { ProgressBar::hidden() };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style).with_prefix(prefix),
        Err(_) => bar,
    }
}

/// Bytes as people say them.
pub(crate) fn size(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes < 1e9 => format!("{:.2} MB", bytes / 1e6),
        bytes => format!("{:.2} GB", bytes / 1e9),
    }
}

/// Draws the loading of a model.
pub(crate) fn bar<'a>(printer: &'a Printer, name: &str) -> impl FnMut(LoadEvent) + use<'a> {
    let bar = new_bar(printer, "{prefix} [{bar:30}] {pos}/{len} {msg}", name.to_owned());
    let (mut placed, start) = (0, Instant::now());
    move |event| match event {
        LoadEvent::Started { layers } => {
            bar.set_length(layers as u64);
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        LoadEvent::Planned { stage, device, layers, memory } => {
            let parts = [
                memory.weights,
                memory.embedding,
                memory.cache,
                memory.workspace,
                memory.needed(),
                memory.free,
            ];
            let [weights, embedding, cache, workspace, needed, free] = parts.map(size);
            let text = format!(
                "stage {stage}, {device}, layers {} to {}: {weights} weights + {embedding} embedding + {cache} cache + {workspace} workspace = {needed}; {free} free",
                layers.start,
                layers.end - 1,
            );
            bar.suspend(|| printer.detail(&text));
        }
        LoadEvent::Layer { bytes } => {
            placed += bytes;
            bar.inc(1);
            let rate = placed as f64 / start.elapsed().as_secs_f64();
            bar.set_message(format!("{} ({}/s)", size(placed), size(rate as u64)));
        }
        LoadEvent::Finished => bar.finish_and_clear(),
    }
}

/// Draws a conversion.
pub(crate) fn conversion(printer: &Printer) -> impl FnMut(ConvertEvent) {
    let template = "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let bar = new_bar(printer, template, printer.text(Message::Converting));
    move |event| match event {
        ConvertEvent::Started { bytes, .. } => bar.set_length(bytes),
        ConvertEvent::Kept { file, bytes } => {
            bar.suspend(|| printer.say(Message::KeptShard { file: &file }));
            bar.inc(bytes);
        }
        ConvertEvent::Advanced { bytes } => bar.inc(bytes),
        ConvertEvent::Verified { file } => bar.suspend(|| printer.detail(&file)),
        ConvertEvent::Finished => bar.finish_and_clear(),
    }
}

/// Draws a quantisation.
pub(crate) fn quantization(printer: &Printer) -> impl FnMut(QuantizeEvent) {
    let bar = new_bar(printer, "{prefix} [{bar:30}] {pos}/{len} {msg} {eta}", String::new());
    move |event| match event {
        QuantizeEvent::Started { layers, tokens } => {
            bar.set_prefix(printer.text(Message::Quantizing { tokens }));
            bar.set_length(layers as u64);
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        QuantizeEvent::Linear(report) => bar.set_message(report.linear),
        QuantizeEvent::Layer { done } => bar.set_position(done as u64),
        QuantizeEvent::Finished => bar.finish_and_clear(),
    }
}

/// Draws the reading of a prompt, and goes away before the answer begins.
pub(crate) struct PrefillBar {
    bar: ProgressBar,
}

impl PrefillBar {
    pub(crate) fn new(printer: &Printer) -> Self {
        let prefix = printer.text(Message::ReadingPrompt);
        Self { bar: new_bar(printer, "{prefix} [{bar:30}] {pos}/{len}", prefix) }
    }

    /// The engine begins with a prompt of which `reused` tokens are in the cache.
    pub(crate) fn start(&self, prompt: usize, reused: usize) {
        if prompt.saturating_sub(reused) >= SHORT_PROMPT {
            self.bar.set_length(prompt as u64);
            self.bar.set_position(reused as u64);
        }
    }

    /// So many tokens are done.
    pub(crate) fn advance(&self, done: usize) {
        if self.bar.length().is_some_and(|length| length > 0) {
            self.bar.set_position(done as u64);
        }
    }

    /// Takes the bar off the screen; nothing the second time.
    pub(crate) fn clear(&self) {
        if !self.bar.is_finished() {
            self.bar.finish_and_clear();
        }
    }
}

impl Drop for PrefillBar {
    fn drop(&mut self) {
        self.clear();
    }
}
