//! Bars while the user waits: on a terminal only, on stderr.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use moss::model::LoadEvent;

use crate::{messages::Message, printer::Printer};

/// Prompts with fewer new tokens are read before a bar could be seen.
const SHORT_PROMPT: usize = 64;

fn new_bar(printer: &Printer, template: &str) -> ProgressBar {
    let bar = if printer.draws { ProgressBar::new(0) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Draws the loading of a model.
pub(crate) fn bar(printer: &Printer, name: &str) -> impl FnMut(LoadEvent) + use<> {
    let bar = new_bar(printer, "{prefix} [{bar:30}] {pos}/{len} {msg}");
    bar.set_prefix(name.to_owned());
    move |event| match event {
        LoadEvent::Started { layers } => {
            bar.set_length(layers as u64);
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        LoadEvent::Layer { done, bytes } => {
            bar.set_position(done as u64);
            bar.set_message(format!("{:.1} GB", bytes as f64 / 1e9)); // checkpoints that take long have gigabytes
        }
        LoadEvent::Finished => bar.finish_and_clear(),
    }
}

/// Draws the reading of a prompt, and goes away before the answer begins.
pub(crate) struct PrefillBar {
    bar: ProgressBar,
}

impl PrefillBar {
    pub(crate) fn new(printer: &Printer) -> Self {
        let bar = new_bar(printer, "{prefix} [{bar:30}] {pos}/{len}");
        bar.set_prefix(printer.text(Message::ReadingPrompt));
        Self { bar }
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
