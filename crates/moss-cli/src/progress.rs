//! Progress bars on stderr, if it is a terminal.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use moss::{
    BuildEvent,
    hub::DownloadEvent,
    model::LoadEvent,
    quantize::{ConvertEvent, QuantizeEvent},
    unicode::{Context, escape},
};

use moss_messages::{Text, msg};

use crate::{
    messages::{download_status, placement_note, retrying, size},
    printer::Printer,
};

/// Prompts with fewer new tokens are processed too fast for a bar.
const SHORT_PROMPT: usize = 64;

/// Files of this size take a noticeable time to verify.
const LONG_FILE: u64 = 1 << 20;

/// Interval between the status lines of a download without a terminal.
const STATUS_EVERY: Duration = Duration::from_secs(30);

/// Set up whole before it is drawn for the first time.
fn new_bar(printer: &Printer, template: &str, prefix: String) -> ProgressBar {
    let bar = if printer.draws {
        ProgressBar::new(0)
    } else {
        ProgressBar::hidden()
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar
            .with_style(style)
            .with_prefix(escape(&prefix, Context::Line).into_owned()),
        Err(_) => bar,
    }
}

/// Shows what happens until a model is ready: a download, warnings, the loading of the weights.
pub(crate) fn building(printer: &Printer) -> impl FnMut(BuildEvent<'_>) + Send + use<> {
    let (printer, mut model) = (printer.clone(), String::new());
    let mut download: Option<DownloadProgress> = None;
    let mut load: Option<Box<dyn FnMut(LoadEvent) + Send>> = None;
    move |event| match event {
        BuildEvent::Incomplete { name, missing } => {
            printer.say(msg!("partial-download", model = name, missing));
        }
        BuildEvent::DownloadStarted { done, bytes } => {
            started(&mut download, &printer).start(done, bytes)
        }
        BuildEvent::Download(event) => started(&mut download, &printer).report(event),
        BuildEvent::DownloadEnded => started(&mut download, &printer).finish(),
        BuildEvent::Found { name, folder } => {
            let folder = folder.display();
            printer.detail(&printer.language.text(&msg!("model-folder", folder)));
            name.clone_into(&mut model);
        }
        BuildEvent::Warning(warning) => {
            printer.warning(warning);
        }
        BuildEvent::Load(event) => {
            load.get_or_insert_with(|| Box::new(bar(&printer, &model)))(event);
        }
        _ => {}
    }
}

/// Returns the progress of the current download.
fn started<'a>(
    download: &'a mut Option<DownloadProgress>,
    printer: &Printer,
) -> &'a mut DownloadProgress {
    download.get_or_insert_with(|| DownloadProgress::new(printer))
}

/// Shows the loading of a model.
pub(crate) fn bar(printer: &Printer, name: &str) -> impl FnMut(LoadEvent) + Send + use<> {
    let printer = printer.clone();
    let bar = new_bar(
        &printer,
        "{prefix} [{bar:30}] {pos}/{len} {msg}",
        name.to_owned(),
    );
    let (mut placed, start) = (0, Instant::now());
    move |event| match event {
        LoadEvent::Started { layers } => {
            bar.set_length(layers as u64);
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        LoadEvent::Noted { note, devices } => {
            let names: Vec<_> = devices.iter().map(ToString::to_string).collect();
            bar.suspend(|| printer.say(placement_note(&note, &names)));
        }
        LoadEvent::Planned {
            stage,
            device,
            plan,
        } => {
            let parts = [
                plan.weights,
                plan.embedding,
                plan.cache,
                plan.workspace,
                plan.needed(),
                plan.free,
            ];
            let [weights, embedding, cache, workspace, needed, free] = parts.map(size);
            let (first, last) = (plan.layers.start, plan.layers.end - 1);
            let text = printer.language.text(&msg!(
                "loading-stage",
                stage,
                device = device.to_string(),
                first,
                last,
                weights,
                embedding,
                cache,
                workspace,
                needed,
                free
            ));
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

/// Shows a download: a bar or, without a terminal, status lines.
pub(crate) struct DownloadProgress {
    printer: Printer,
    bar: ProgressBar,
    lines: Mutex<Lines>,
}

/// The state for the next status line.
struct Lines {
    /// The current file.
    file: String,
    /// The bar shows a message instead of the file.
    shows_message: bool,
    done: u64,
    total: u64,
    /// Time of the last line, and bytes done at that time.
    last: (Instant, u64),
}

impl DownloadProgress {
    pub(crate) fn new(printer: &Printer) -> Self {
        let template = "[{bar:30}] {decimal_bytes} / {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} {wide_msg}";
        let lines = Mutex::new(Lines {
            file: String::new(),
            shows_message: false,
            done: 0,
            total: 0,
            last: (Instant::now(), 0),
        });
        Self {
            printer: printer.clone(),
            bar: new_bar(printer, template, String::new()),
            lines,
        }
    }

    /// Starts the bar with the bytes done and the total.
    pub(crate) fn start(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.reset_eta(); // bytes from earlier runs say nothing about the speed
        self.bar.enable_steady_tick(Duration::from_millis(200));
        if let Ok(mut lines) = self.lines.lock() {
            (lines.done, lines.total, lines.last) = (done, total, (Instant::now(), done));
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Shows an event. May be called from any thread.
    pub(crate) fn report(&self, event: DownloadEvent<'_>) {
        match event {
            DownloadEvent::Started { file, bytes, done } => self.begin(file, bytes, done),
            DownloadEvent::Advanced { bytes } => self.advance(bytes),
            DownloadEvent::Waiting { file } => self.tell(msg!("download-waiting", file)),
            DownloadEvent::Retrying { file, fault, wait } => {
                self.tell(retrying(file, fault, wait));
            }
            DownloadEvent::Verifying { file, bytes } if bytes >= LONG_FILE => {
                self.tell(msg!("download-verifying", file))
            }
            _ => {}
        }
    }

    fn begin(&self, file: &str, bytes: u64, done: u64) {
        if self.draws() {
            self.bar
                .set_message(escape(file, Context::Line).into_owned());
        } else {
            let (size, done) = (size(bytes), (done > 0).then(|| size(done)));
            self.printer.say(msg!("download-file", file, size, done));
        }
        if let Ok(mut lines) = self.lines.lock() {
            file.clone_into(&mut lines.file);
        }
    }

    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
        let Ok(mut lines) = self.lines.lock() else {
            return;
        };
        lines.done += bytes;
        if std::mem::take(&mut lines.shows_message) {
            self.bar.set_message(lines.file.clone());
        }
        let Lines {
            done,
            total,
            last: (when, before),
            ..
        } = *lines;
        let elapsed = when.elapsed();
        if !self.draws() && elapsed >= STATUS_EVERY {
            let rate = ((done - before) as f64 / elapsed.as_secs_f64()) as u64;
            self.printer.say(download_status(done, total, rate));
            lines.last = (Instant::now(), done);
        }
    }

    /// Shows a message in the bar until more bytes arrive, or as a line.
    fn tell(&self, message: Text) {
        if !self.draws() {
            return self.printer.say(message);
        }
        self.bar
            .set_message(escape(&self.printer.text(&message), Context::Line).into_owned());
        if let Ok(mut lines) = self.lines.lock() {
            lines.shows_message = true;
        }
    }

    /// Returns true if there is a bar: on a terminal, once the total is known.
    fn draws(&self) -> bool {
        self.printer.draws && self.bar.length() > Some(0)
    }
}

/// Shows the check of weight files: bytes read, and total bytes.
pub(crate) fn checking(printer: &Printer) -> impl FnMut(u64, u64) {
    let template = "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let bar = new_bar(printer, template, printer.text(&msg!("checking")));
    move |done, total| {
        bar.set_length(total);
        bar.set_position(done);
        if done == total {
            bar.finish_and_clear();
        }
    }
}

/// Shows a conversion.
pub(crate) fn conversion(printer: &Printer) -> impl FnMut(ConvertEvent) {
    let template = "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let bar = new_bar(printer, template, printer.text(&msg!("converting")));
    move |event| match event {
        ConvertEvent::Started { bytes, .. } => bar.set_length(bytes),
        ConvertEvent::Kept { file, bytes } => {
            bar.suspend(|| printer.say(msg!("kept-shard", file)));
            bar.inc(bytes);
        }
        ConvertEvent::Advanced { bytes } => bar.inc(bytes),
        ConvertEvent::Verified { file } => bar.suspend(|| printer.detail(&file)),
        ConvertEvent::Finished => bar.finish_and_clear(),
    }
}

/// Shows a quantization.
pub(crate) fn quantization(printer: &Printer) -> impl FnMut(QuantizeEvent) {
    let bar = new_bar(
        printer,
        "{prefix} [{bar:30}] {pos}/{len} {msg} {eta}",
        String::new(),
    );
    let begun = Instant::now();
    move |event| match event {
        QuantizeEvent::Started { layers, tokens } => {
            bar.set_prefix(printer.text(&match tokens {
                0 => msg!("quantizing"),
                tokens => msg!("quantizing-with", tokens),
            }));
            bar.set_length(layers as u64);
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        QuantizeEvent::Linear(report) => {
            let seconds = begun.elapsed().as_secs_f64();
            bar.suspend(|| printer.detail(&format!("{seconds:8.1} s  {}", report.linear)));
            bar.set_message(report.linear);
        }
        QuantizeEvent::Layer { done } => bar.set_position(done as u64),
        QuantizeEvent::Finished => bar.finish_and_clear(),
    }
}

/// Shows prefill, until the answer starts.
pub(crate) struct PrefillBar {
    bar: ProgressBar,
}

impl PrefillBar {
    pub(crate) fn new(printer: &Printer) -> Self {
        let prefix = printer.text(&msg!("processing-prompt"));
        Self {
            bar: new_bar(printer, "{prefix} [{bar:30}] {pos}/{len}", prefix),
        }
    }

    /// Starts the bar for a prompt of which `reused` tokens are in the cache.
    pub(crate) fn start(&self, prompt: usize, reused: usize) {
        if prompt.saturating_sub(reused) >= SHORT_PROMPT {
            self.bar.set_length(prompt as u64);
            self.bar.set_position(reused as u64);
        }
    }

    /// Sets the number of tokens that are done.
    pub(crate) fn advance(&self, done: usize) {
        if self.bar.length().is_some_and(|length| length > 0) {
            self.bar.set_position(done as u64);
        }
    }

    /// Removes the bar. A second call has no effect.
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
