//! Detects a worker thread without progress.
//!
//! The worker may be blocked in a driver call or in a page fault, so the watchdog has a separate
//! thread and ends the open requests itself.

use std::time::{Duration, Instant};

use crate::{
    EngineError,
    health::Health,
    sync::{
        Arc,
        channel::{RecvTimeoutError, Sender, bounded},
        thread,
    },
};

/// The limit on time without progress, as a multiple of the predicted time of a forward batch.
const FACTOR: u32 = 8;
/// The longest interval between two checks.
const LONGEST_TICK: Duration = Duration::from_secs(1);

/// Starts the watchdog; dropping the sender stops it.
pub(crate) fn start(health: Arc<Health>, floor: Duration) -> std::io::Result<Sender<()>> {
    let (stop, stopped) = bounded::<()>(0);
    let tick = (floor / 8).clamp(Duration::from_millis(5), LONGEST_TICK);
    let watch = move || {
        let mut silence = Silence::default();
        loop {
            let began = Instant::now();
            if stopped.recv_timeout(tick) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let (beats, tokens) = health.pulse();
            let silent = silence.after(beats, tokens > 0, began.elapsed(), tick);
            if silent >= limit(&health, tokens, floor) {
                return health.fail(&EngineError::Stalled {
                    seconds: silent.as_secs(),
                    tokens,
                });
            }
        }
    };
    thread::Builder::new()
        .name("moss-watchdog".into())
        .spawn(watch)?;
    Ok(stop)
}

/// Returns the longest time without progress in a forward batch of `tokens`: a multiple of the
/// predicted time, and at least `floor`.
fn limit(health: &Health, tokens: usize, floor: Duration) -> Duration {
    let predicted = health.speed.predict(tokens, 0).unwrap_or_default();
    floor.max(predicted.saturating_mul(FACTOR))
}

/// The time without progress.
#[derive(Debug, Default)]
struct Silence {
    beats: u64,
    time: Duration,
}

impl Silence {
    /// Updates the time after a sleep, and returns it. `slept` counts as two ticks at most: while
    /// the process is stopped (SIGSTOP, a suspended machine), the worker cannot progress either.
    fn after(&mut self, beats: u64, busy: bool, slept: Duration, tick: Duration) -> Duration {
        match busy && beats == self.beats {
            true => self.time += slept.min(tick * 2),
            false => self.time = Duration::ZERO,
        }
        self.beats = beats;
        self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_secs(1);

    #[test]
    fn silence_grows_only_while_a_step_runs_without_progress() {
        let mut silence = Silence::default();
        assert_eq!(silence.after(1, true, TICK, TICK), Duration::ZERO);
        assert_eq!(silence.after(1, true, TICK, TICK), TICK);
        assert_eq!(silence.after(1, true, TICK, TICK), 2 * TICK);
        assert_eq!(silence.after(2, true, TICK, TICK), Duration::ZERO);
        assert_eq!(silence.after(2, true, TICK, TICK), TICK);
        assert_eq!(silence.after(2, false, TICK, TICK), Duration::ZERO);
    }

    #[test]
    fn a_process_that_was_stopped_for_an_hour_is_not_stalled() {
        let mut silence = Silence::default();
        silence.after(7, true, TICK, TICK);
        assert_eq!(
            silence.after(7, true, Duration::from_secs(3600), TICK),
            2 * TICK
        );
    }

    #[test]
    fn the_limit_follows_measured_speed_above_its_floor() {
        let (health, floor) = (Health::default(), Duration::from_secs(60));
        assert_eq!(limit(&health, 256, floor), floor);
        health.speed.record(0, 256, Duration::from_secs(64)); // 4 tokens a second
        assert_eq!(limit(&health, 256, floor), Duration::from_secs(512));
        assert_eq!(limit(&health, 1, floor), floor);
    }
}
