//! Signals of a server.

#[cfg(unix)]
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::interrupt::INTERRUPTED;

/// An effect of a signal on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Shut down gracefully.
    Stop,
    /// Read the key files again.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is no SIGHUP"))]
    Reload,
}

/// SIGINT, SIGTERM and SIGHUP of a server. The first SIGINT or SIGTERM starts a graceful shutdown;
/// another one ends the program.
///
/// SIGHUP has two meanings: the terminal or SSH session has been closed, or a file has changed. A
/// server with files to reload reloads them, unless its terminal is gone. Without such files, it
/// stops.
pub(crate) struct ServerSignals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    /// `None` if the signal has no effect.
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    reloads: bool,
    /// A closed terminal stops the server: there is one, and it was not started with `nohup`.
    #[cfg(unix)]
    follows_terminal: bool,
    /// Set by the handler of the first signal that stops the server.
    #[cfg(unix)]
    received: Arc<AtomicBool>,
}

/// Time for a shell, which sends SIGHUP before it exits, to exit.
#[cfg(unix)]
const EXIT_OF_SHELL: Duration = Duration::from_millis(500);

#[cfg(unix)]
impl ServerSignals {
    /// Handles the signals from now on. `reloads` is true if there are files to reload. Must be
    /// called in tokio's runtime.
    pub(crate) fn watch(reloads: bool) -> std::io::Result<Self> {
        use signal_hook::{consts, flag};
        use tokio::signal::unix::{SignalKind, signal};
        let received = Arc::<AtomicBool>::default();
        for number in [consts::SIGINT, consts::SIGTERM] {
            // The handler itself ends the program on the second signal, so that a second signal
            // counts even if no thread has seen the first one yet.
            flag::register_conditional_shutdown(number, i32::from(INTERRUPTED), received.clone())?;
            flag::register(number, received.clone())?;
        }
        let ignores_hangup = hangup_is_ignored();
        if !ignores_hangup && !reloads {
            // A second SIGHUP has no effect: the kernel and the shell each send one when a terminal
            // is closed.
            flag::register(consts::SIGHUP, received.clone())?;
        }
        // tokio's handlers are installed after the flags. Otherwise a signal that only tokio has
        // received would not be counted. A signal in between is recorded in `received`.
        let handles_hangup = reloads || !ignores_hangup;
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: handles_hangup
                .then(|| signal(SignalKind::hangup()))
                .transpose()?,
            reloads,
            follows_terminal: !ignores_hangup && has_terminal(),
            received,
        })
    }

    /// Waits for the next signal. After [`Request::Stop`] there is no further one.
    pub(crate) async fn next(&mut self) -> Request {
        if self.received.load(SeqCst) {
            return Request::Stop;
        }
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Request::Stop,
            _ = self.terminate.recv() => Request::Stop,
            _ = hangup => self.hung_up().await,
        }
    }

    async fn hung_up(&self) -> Request {
        if !self.reloads {
            return Request::Stop;
        }
        if self.follows_terminal {
            tokio::time::sleep(EXIT_OF_SHELL).await;
            if !has_terminal() {
                self.received.store(true, SeqCst); // a SIGTERM ends the program, as after any stop
                return Request::Stop;
            }
        }
        Request::Reload
    }
}

/// Returns true if this process has a controlling terminal that has not been closed.
#[cfg(unix)]
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
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
impl ServerSignals {
    pub(crate) fn watch(_reloads: bool) -> std::io::Result<Self> {
        Ok(Self {})
    }

    pub(crate) async fn next(&mut self) -> Request {
        // Without a handler, the signal ends the program.
        let _ = tokio::signal::ctrl_c().await;
        tokio::spawn(async {
            let _ = tokio::signal::ctrl_c().await;
            std::process::exit(i32::from(INTERRUPTED));
        });
        Request::Stop
    }
}
