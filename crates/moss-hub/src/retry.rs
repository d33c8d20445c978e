//! How often, and after which pause, a request is made again.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Patience,
    fault::{Failure, Fault},
};

const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

/// Counts failures in a row.
pub(crate) struct Retries<'a> {
    patience: &'a Patience,
    failures: u32,
    /// A server that asks for a longer pause than this is given up, if there is such a limit.
    longest_retry_after: Option<Duration>,
}

impl<'a> Retries<'a> {
    pub(crate) fn new(patience: &'a Patience) -> Self {
        Self {
            patience,
            failures: 0,
            longest_retry_after: None,
        }
    }

    /// Gives up where a server asks for a longer pause, instead of waiting for it.
    pub(crate) fn with_longest_retry_after(self, longest: Duration) -> Self {
        Self {
            longest_retry_after: Some(longest),
            ..self
        }
    }

    /// Useful bytes came: what failed before is forgotten.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns the pause before the next try, or `None` if another one is not worth it.
    /// `established` says that bytes of this file have come before: then a lost network may come
    /// back.
    pub(crate) fn pause(&mut self, failure: &Failure, established: bool) -> Option<Duration> {
        self.failures += 1;
        let first = failure
            .first_attempts()
            .filter(|_| !established)
            .unwrap_or(u32::MAX);
        if !failure.is_transient() || self.failures >= self.patience.attempts.min(first) {
            return None;
        }
        if let Fault::Status {
            retry_after: Some(wait),
            ..
        } = failure.fault
        {
            let is_too_long = self
                .longest_retry_after
                .is_some_and(|longest| wait > longest);
            return (!is_too_long).then(|| wait.min(LONGEST_RETRY_AFTER));
        }
        let doubled = self
            .patience
            .backoff
            .saturating_mul(1 << (self.failures - 1).min(16));
        Some(doubled.min(LONGEST_BACKOFF))
    }

    /// Tries made in vain since the last useful byte.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

/// Waits, unless `stop` is set before the time is over.
pub(crate) fn sleep(wait: Duration, stop: &AtomicBool) {
    let end = Instant::now() + wait;
    while !stop.load(Ordering::Relaxed) {
        match end.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => thread::sleep(left.min(Duration::from_millis(50))),
            _ => return,
        }
    }
}
