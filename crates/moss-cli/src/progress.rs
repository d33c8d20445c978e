//! A bar while a model loads: on a terminal only.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use moss::model::LoadEvent;

use crate::printer::Printer;

/// Draws load events; hides itself where nobody looks.
pub(crate) fn bar(printer: &Printer, name: &str) -> impl FnMut(LoadEvent) + use<> {
    let show = printer.fancy && !printer.is_quiet();
    let bar = if show { ProgressBar::new(0) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(name.to_owned());
    move |event| match event {
        LoadEvent::Started { layers } => {
            bar.set_length(layers as u64);
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        LoadEvent::Layer { done, bytes } => {
            bar.set_position(done as u64);
            bar.set_message(format!("{:.1} GB", bytes as f64 / 1e9));
        }
        LoadEvent::Finished => bar.finish_and_clear(),
    }
}
