//! Ctrl-C: it stops an answer; where there is none, the program. A server finishes its answers
//! first.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use moss::engine::CancelHandle;

use moss_messages::msg;

use crate::{errors::Context, printer::Printer, terminal};

/// Exit status of a program that Ctrl-C ended: 128 and SIGINT's number, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// Exit status of a server whose engine failed for good, as sysexits.h has it for an internal error
/// (`EX_SOFTWARE`).
pub(crate) const ENGINE_FAILED: u8 = 70;

/// Returns the exit status of a program that Ctrl-C ended.
pub(crate) fn interrupted() -> ExitCode {
    ExitCode::from(INTERRUPTED)
}

/// Handles SIGINT: it stops the current answer; without one, `WhenIdle` decides.
pub(crate) struct Interrupts {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The answer that Ctrl-C would stop.
    answering: Option<CancelHandle>,
    /// An answer was told to stop and has not ended yet.
    stopping: bool,
    /// Ctrl-C came after a line was read and before its answer began.
    pending: bool,
    idle: WhenIdle,
}

/// The effect of SIGINT while no answer is generated.
#[derive(Default)]
enum WhenIdle {
    /// Ends the program.
    #[default]
    Exit,
    /// Nothing: a chat at a terminal is left by Ctrl-C at its prompt alone, which the line editor
    /// reads as a key.
    Stay,
    /// The prompt of a terminal without line editing: the first one shows it again, the second ends
    /// the program. Ctrl-C is a key there too; the signal comes from elsewhere, such as Emacs.
    ShowPrompt { prompt: String, shown: bool },
}

/// While it lives, Ctrl-C stops one answer.
pub(crate) struct Stopping {
    state: Arc<Mutex<State>>,
}

impl Interrupts {
    /// Handles SIGINT for the rest of the program. Call it once.
    pub(crate) fn watch(printer: &Printer) -> anyhow::Result<Self> {
        let state: Arc<Mutex<State>> = Arc::default();
        let (current, printer) = (state.clone(), printer.clone());
        ctrlc::set_handler(move || lock(&current).interrupt(&printer))
            .context(msg!("cannot-watch-interrupts"))?;
        Ok(Self { state })
    }

    /// Ctrl-C stops this answer until the guard is dropped.
    pub(crate) fn stop_with(&self, handle: CancelHandle) -> Stopping {
        let mut state = lock(&self.state);
        if std::mem::take(&mut state.pending) {
            state.stopping = true;
            handle.cancel();
        } else {
            state.answering = Some(handle);
        }
        Stopping {
            state: self.state.clone(),
        }
    }

    /// A terminal's prompt is about to be shown. `unedited`: the kernel edits the line.
    pub(crate) fn before_prompt(&self, prompt: &str, unedited: bool) {
        let mut state = lock(&self.state);
        state.pending = false; // meant for an answer that has ended
        state.idle = match unedited {
            true => WhenIdle::ShowPrompt {
                prompt: prompt.to_owned(),
                shown: false,
            },
            false => WhenIdle::Stay,
        };
    }

    /// A terminal's prompt has been answered.
    pub(crate) fn after_prompt(&self) {
        lock(&self.state).idle = WhenIdle::Stay;
    }
}

impl State {
    fn interrupt(&mut self, printer: &Printer) {
        if let Some(handle) = self.answering.take() {
            self.stopping = true;
            return handle.cancel();
        }
        match &mut self.idle {
            WhenIdle::Stay if self.stopping => printer.say(msg!("still-stopping")),
            WhenIdle::Stay => self.pending = true,
            WhenIdle::ShowPrompt {
                prompt,
                shown: shown @ false,
            } => {
                *shown = true;
                let _ = printer.answer("\n");
                printer.say(msg!("interrupt-again"));
                // the read that waits for a line reports a closed terminal
                let _ = printer.answer(prompt);
            }
            WhenIdle::Exit | WhenIdle::ShowPrompt { .. } => {
                terminal::restore();
                std::process::exit(i32::from(INTERRUPTED));
            }
        }
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        (state.answering, state.stopping) = (None, false);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ctrl-C, SIGTERM and SIGHUP (a terminal or an SSH session that is closed) of a server: the first
/// asks it to stop, the next Ctrl-C or SIGTERM ends the program.
pub(crate) struct StopSignals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    /// None if the signal is ignored, as under `nohup`.
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
    /// Set within the handler of the first one.
    #[cfg(unix)]
    told: Arc<std::sync::atomic::AtomicBool>,
}

#[cfg(unix)]
impl StopSignals {
    /// Watches from now on; to be called in tokio's runtime.
    pub(crate) fn watch() -> std::io::Result<Self> {
        use std::sync::atomic::AtomicBool;

        use signal_hook::{consts, flag};
        use tokio::signal::unix::{SignalKind, signal};
        let told = Arc::<AtomicBool>::default();
        for number in [consts::SIGINT, consts::SIGTERM] {
            // Within the handler, before it notes the first: one that comes before a thread has
            // heard of the first is not lost.
            flag::register_conditional_shutdown(number, i32::from(INTERRUPTED), told.clone())?;
            flag::register(number, told.clone())?;
        }
        let hears_hangup = !hangup_is_ignored();
        if hears_hangup {
            // Only as the first: the kernel and the shell each send one for one closed terminal.
            flag::register(consts::SIGHUP, told.clone())?;
        }
        // After the flags: a signal that only tokio had heard of would not count, and the second
        // would pass for the first. One that comes in between is in `told`.
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: hears_hangup
                .then(|| signal(SignalKind::hangup()))
                .transpose()?,
            told,
        })
    }

    /// Waits for the first one.
    pub(crate) async fn first(&mut self) {
        if self.told.load(std::sync::atomic::Ordering::SeqCst) {
            return;
        }
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Returns `true` if this process was started with SIGHUP ignored, as by `nohup`: a handler would
/// end that. Only Linux tells it without a call that replaces the handler; elsewhere the signal
/// keeps its default.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask & 1 << (signal_hook::consts::SIGHUP - 1) != 0)
}

#[cfg(not(unix))]
impl StopSignals {
    pub(crate) fn watch() -> std::io::Result<Self> {
        Ok(Self {})
    }

    pub(crate) async fn first(&mut self) {
        // where it cannot be watched for, it ends the program
        let _ = tokio::signal::ctrl_c().await;
        tokio::spawn(async {
            let _ = tokio::signal::ctrl_c().await;
            std::process::exit(i32::from(INTERRUPTED));
        });
    }
}
