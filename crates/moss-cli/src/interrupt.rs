//! Ctrl-C stops an answer or, if there is none, the program. A server finishes running answers
//! first.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use moss::{engine::CancelHandle, plugins::Cancellation};

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

/// An answer or plugin calls, which Ctrl-C stops.
pub(crate) enum Stoppable {
    /// An answer.
    Answer(CancelHandle),
    /// The calls of plugins.
    Calls(Cancellation),
}

impl Stoppable {
    fn cancel(&self) {
        match self {
            Self::Answer(handle) => handle.cancel(),
            Self::Calls(cancellation) => cancellation.cancel(),
        }
    }
}

impl From<CancelHandle> for Stoppable {
    fn from(handle: CancelHandle) -> Self {
        Self::Answer(handle)
    }
}

impl From<Cancellation> for Stoppable {
    fn from(cancellation: Cancellation) -> Self {
        Self::Calls(cancellation)
    }
}

/// Handles SIGINT. It stops the current answer; without one, `WhenIdle` determines the effect.
pub(crate) struct Interrupts {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The answer or the calls that Ctrl-C stops.
    answering: Option<Stoppable>,
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

    /// Lets Ctrl-C stop this answer, or these calls, until the guard is dropped.
    pub(crate) fn stop_with(&self, handle: impl Into<Stoppable>) -> Stopping {
        let handle = handle.into();
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
