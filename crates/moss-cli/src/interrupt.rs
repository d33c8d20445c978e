//! Ctrl-C stops an answer or, if there is none, the program. A server finishes running answers
//! first.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use moss::engine::CancelHandle;

use moss_messages::msg;

use crate::{errors::Context, printer::Printer, terminal};

/// Exit status after Ctrl-C: 128 plus the number of SIGINT, as in shells.
pub(crate) const INTERRUPTED: u8 = 130;

/// Exit status of a server whose engine failed permanently: EX_SOFTWARE of sysexits.h.
pub(crate) const ENGINE_FAILED: u8 = 70;

/// Returns the exit status of a program that Ctrl-C ended.
pub(crate) fn interrupted() -> ExitCode {
    ExitCode::from(INTERRUPTED)
}

/// Handles SIGINT. It stops the current answer; without one, `WhenIdle` determines the effect.
pub(crate) struct Interrupts {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The answer that Ctrl-C stops.
    answering: Option<CancelHandle>,
    /// An answer was cancelled and has not ended yet.
    stopping: bool,
    /// SIGINT arrived after a line was read and before its answer started.
    pending: bool,
    idle: WhenIdle,
}

/// The effect of SIGINT while no answer is being generated.
#[derive(Default)]
enum WhenIdle {
    /// Ends the program.
    #[default]
    Exit,
    /// No effect. At a prompt, the line editor reads Ctrl-C as a key.
    Stay,
    /// At the prompt of a terminal without line editing, the first signal shows the prompt again
    /// and the second ends the program. Ctrl-C is a key there too; the signal comes from another
    /// program, such as Emacs.
    ShowPrompt { prompt: String, shown: bool },
}

/// A guard. While it exists, Ctrl-C stops one answer.
pub(crate) struct Stopping {
    state: Arc<Mutex<State>>,
}

impl Interrupts {
    /// Handles SIGINT from now on. Must be called once.
    pub(crate) fn watch(printer: &Printer) -> anyhow::Result<Self> {
        let state: Arc<Mutex<State>> = Arc::default();
        let (current, printer) = (state.clone(), printer.clone());
        ctrlc::set_handler(move || lock(&current).interrupt(&printer))
            .context(msg!("cannot-watch-interrupts"))?;
        Ok(Self { state })
    }

    /// Lets Ctrl-C stop this answer until the guard is dropped.
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

    /// Must be called before a prompt is shown. `unedited` is true if the kernel edits the line.
    pub(crate) fn before_prompt(&self, prompt: &str, unedited: bool) {
        let mut state = lock(&self.state);
        state.pending = false; // it was for an answer that has ended
        state.idle = match unedited {
            true => WhenIdle::ShowPrompt {
                prompt: prompt.to_owned(),
                shown: false,
            },
            false => WhenIdle::Stay,
        };
    }

    /// Must be called after a line was read.
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
                // The pending read reports a closed terminal.
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

/// SIGINT, SIGTERM and SIGHUP (a closed terminal or SSH session) of a server. The first starts a
/// graceful shutdown; another SIGINT or SIGTERM ends the program.
pub(crate) struct StopSignals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    /// `None` if the signal is ignored, as with `nohup`.
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
    /// Set by the handler of the first signal.
    #[cfg(unix)]
    received: Arc<std::sync::atomic::AtomicBool>,
}

#[cfg(unix)]
impl StopSignals {
    /// Handles the signals from now on. Must be called in tokio's runtime.
    pub(crate) fn watch() -> std::io::Result<Self> {
        use std::sync::atomic::AtomicBool;

        use signal_hook::{consts, flag};
        use tokio::signal::unix::{SignalKind, signal};
        let received = Arc::<AtomicBool>::default();
        for number in [consts::SIGINT, consts::SIGTERM] {
            // The handler itself ends the program on the second signal, so that a second signal
            // counts even if no thread has seen the first one yet.
            flag::register_conditional_shutdown(number, i32::from(INTERRUPTED), received.clone())?;
            flag::register(number, received.clone())?;
        }
        let handles_hangup = !hangup_is_ignored();
        if handles_hangup {
            // A second SIGHUP has no effect: the kernel and the shell each send one when a terminal
            // is closed.
            flag::register(consts::SIGHUP, received.clone())?;
        }
        // tokio's handlers are installed after the flags. Otherwise a signal that only tokio has
        // received would not be counted. A signal in between is recorded in `received`.
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: handles_hangup
                .then(|| signal(SignalKind::hangup()))
                .transpose()?,
            received,
        })
    }

    /// Waits for the first signal.
    pub(crate) async fn first(&mut self) {
        if self.received.load(std::sync::atomic::Ordering::SeqCst) {
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

/// Returns true if this process was started with SIGHUP ignored, as by `nohup`. A handler would
/// undo that. Only Linux reports it without replacing the handler; on other systems the signal
/// keeps its default action.
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
        // Without a handler, the signal ends the program.
        let _ = tokio::signal::ctrl_c().await;
        tokio::spawn(async {
            let _ = tokio::signal::ctrl_c().await;
            std::process::exit(i32::from(INTERRUPTED));
        });
    }
}
