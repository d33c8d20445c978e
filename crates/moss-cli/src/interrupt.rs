//! Ctrl-C: it stops an answer; where there is none, the program.

use std::sync::{Arc, Mutex};

use moss::engine::CancelHandle;

use crate::errors::OrFail;

/// Exit status of a program that Ctrl-C ended: 128 and SIGINT's number, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

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
