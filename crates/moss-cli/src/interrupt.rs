//! Ctrl-C: it stops an answer; where there is none, the program. A server finishes its answers first.

use std::sync::{Arc, Mutex};

use moss::engine::CancelHandle;

use crate::errors::OrFail;

/// Exit status of a program that Ctrl-C ended: 128 and SIGINT's number, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// Exit status of a server whose engine failed for good, as sysexits.h has it for an internal error (`EX_SOFTWARE`).
pub(crate) const ENGINE_FAILED: u8 = 70;

/// Knows the answer that Ctrl-C would stop.
pub(crate) struct Interrupts {
    answering: Arc<Mutex<Option<CancelHandle>>>,
}

/// While it lives, Ctrl-C stops one answer.
pub(crate) struct Stopping {
    answering: Arc<Mutex<Option<CancelHandle>>>,
}

impl Interrupts {
    /// Takes Ctrl-C over for the rest of the program; once.
    pub(crate) fn watch() -> anyhow::Result<Self> {
        let answering: Arc<Mutex<Option<CancelHandle>>> = Arc::default();
        let current = answering.clone();
        ctrlc::set_handler(move || match current.lock().ok().and_then(|mut handle| handle.take()) {
            Some(handle) => handle.cancel(),
            // Nothing runs, or what runs was told to stop already and the user is out of patience.
            None => std::process::exit(i32::from(INTERRUPTED)),
        })
        .or_fail("cannot watch for Ctrl-C", "无法监听 Ctrl-C")?;
        Ok(Self { answering })
    }

    /// Ctrl-C stops this answer until the guard is dropped.
    pub(crate) fn stop_with(&self, handle: CancelHandle) -> Stopping {
        set(&self.answering, Some(handle));
        Stopping { answering: self.answering.clone() }
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        set(&self.answering, None);
    }
}

fn set(answering: &Mutex<Option<CancelHandle>>, handle: Option<CancelHandle>) {
    if let Ok(mut answering) = answering.lock() {
        *answering = handle;
    }
}

/// Ctrl-C and SIGTERM of a server: the first asks it to stop, the next ends the program.
pub(crate) struct StopSignals {
    #[cfg(unix)]
    watched: [tokio::signal::unix::Signal; 2],
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
            // Within the handler, before it notes the first: one that comes before a thread has heard of the first is not lost.
            flag::register_conditional_shutdown(number, i32::from(INTERRUPTED), told.clone())?;
            flag::register(number, told.clone())?;
        }
        // After the flags: a signal that only tokio had heard of would not count, and the second would pass for the first. One that comes in
        // between is in `told`.
        let watched = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
        Ok(Self { watched, told })
    }

    /// Waits for the first one.
    pub(crate) async fn first(&mut self) {
        if self.told.load(std::sync::atomic::Ordering::SeqCst) {
            return;
        }
        let [interrupt, terminate] = &mut self.watched;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl StopSignals {
    pub(crate) fn watch() -> std::io::Result<Self> {
        Ok(Self {})
    }

    pub(crate) async fn first(&mut self) {
        let _ = tokio::signal::ctrl_c().await; // where it cannot be watched for, it ends the program
        tokio::spawn(async {
            let _ = tokio::signal::ctrl_c().await;
            std::process::exit(i32::from(INTERRUPTED));
        });
    }
}
