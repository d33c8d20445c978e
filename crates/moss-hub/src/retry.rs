//! Retries of requests, and the pauses before them.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Timeouts,
    fault::{Failure, Fault},
};

const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

/// The state of retries: the number of consecutive failures.
pub(crate) struct Retries<'a> {
    timeouts: &'a Timeouts,
    failures: u32,
    /// The longest accepted Retry-After.
    longest_retry_after: Option<Duration>,
}

impl<'a> Retries<'a> {
    pub(crate) fn new(timeouts: &'a Timeouts) -> Self {
        Self {
            timeouts,
            failures: 0,
            longest_retry_after: None,
        }
    }

    /// Sets the longest Retry-After. A longer one is a failure.
    pub(crate) fn with_longest_retry_after(self, longest: Duration) -> Self {
        Self {
            longest_retry_after: Some(longest),
            ..self
        }
    }

    /// Resets the failures after progress.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns the pause before the next attempt, or `None` to give up. `established` is true if
    /// bytes of this file have been received before: a lost network may then come back.
    pub(crate) fn pause(&mut self, failure: &Failure, established: bool) -> Option<Duration> {
        self.failures += 1;
        let first = failure
            .first_attempts()
            .filter(|_| !established)
            .unwrap_or(u32::MAX);
        if !failure.is_transient() || self.failures >= self.timeouts.attempts.min(first) {
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
            .timeouts
            .backoff
            .saturating_mul(1 << (self.failures - 1).min(16));
        Some(doubled.min(LONGEST_BACKOFF))
    }

    /// Returns the number of failed attempts since the last progress.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

/// Sleeps, until `stop` is set.
pub(crate) fn sleep(wait: Duration, stop: &AtomicBool) {
    let end = Instant::now() + wait;
    while !stop.load(Ordering::Relaxed) {
        match end.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => thread::sleep(left.min(Duration::from_millis(50))),
            _ => return,
        }
    }
}
