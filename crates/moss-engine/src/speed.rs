//! The measured speed of a model: rates, for predictions of waiting times, and the cost of steps, for
//! the scheduler.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::step_cost::{ChunkLimits, StepCost};

/// Prompt tokens, or decode steps, after which older measurements count half.
const HALF_LIFE: f64 = 2048.0;

/// Running rates of prefill and decode, and the cost of steps.
#[derive(Debug, Default)]
pub(crate) struct Speed(Mutex<Measured>);

#[derive(Debug, Default)]
struct Measured {
    prefill: Rate,
    decode: Rate,
    steps: StepCost,
}

/// Work done and the seconds that it took.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    done: f64,
    seconds: f64,
}

impl Rate {
    fn add(&mut self, done: usize, time: Duration) {
        if self.done > HALF_LIFE {
            self.done /= 2.0;
            self.seconds /= 2.0;
        }
        self.done += done as f64;
        self.seconds += time.as_secs_f64();
    }

    /// Returns the seconds for `work`; `None` without a measurement.
    fn predict(&self, work: usize) -> Option<f64> {
        (self.done > 0.0).then(|| work as f64 * self.seconds / self.done)
    }
}

impl Speed {
    fn lock(&self) -> MutexGuard<'_, Measured> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a forward batch of `rows` generated tokens and `prompt_tokens` that took `time`. For
    /// the rates, a batch with prompt tokens counts as prefill, even if it also decodes: that is the
    /// rate of a prompt among running requests.
    pub(crate) fn record(&self, rows: usize, prompt_tokens: usize, time: Duration) {
        let mut measured = self.lock();
        match prompt_tokens {
            0 => measured.decode.add(1, time),
            tokens => measured.prefill.add(tokens, time),
        }
        measured
            .steps
            .record(rows, prompt_tokens, time.as_secs_f64());
    }

    /// Predicts the time of prompt tokens and decode steps. Returns `None` without a measurement of
    /// prefill. Without a measurement of decode, a step counts as a prompt token.
    pub(crate) fn predict(&self, prompt_tokens: usize, decode_steps: usize) -> Option<Duration> {
        let Measured {
            prefill, decode, ..
        } = *self.lock();
        let per_step = decode
            .predict(decode_steps)
            .or_else(|| prefill.predict(decode_steps))?;
        Duration::try_from_secs_f64(prefill.predict(prompt_tokens)? + per_step).ok()
    }

    /// As [`StepCost::prompt_tokens`].
    pub(crate) fn prompt_tokens(
        &self,
        rows: usize,
        prompts: (usize, usize),
        limits: ChunkLimits,
    ) -> usize {
        self.lock().steps.prompt_tokens(rows, prompts, limits)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn time_is_predicted_once_a_prompt_has_been_measured() {
        let speed = Speed::default();
        assert_eq!(speed.predict(100, 0), None);
        speed.record(1, 0, Duration::from_secs(1));
        assert_eq!(speed.predict(100, 0), None);
        speed.record(1, 4, Duration::from_secs(1));
        assert_eq!(
            speed.predict(343, 0),
            Some(Duration::from_secs_f64(343.0 / 4.0))
        );
        assert_eq!(speed.predict(4, 10), Some(Duration::from_secs(11)));
    }

    #[test]
    fn recent_steps_outweigh_old_ones() {
        let speed = Speed::default();
        for _ in 0..100 {
            speed.record(0, 256, Duration::from_secs(1));
        }
        for _ in 0..100 {
            speed.record(0, 256, Duration::from_secs(64));
        }
        let seconds = speed.predict(256, 0).unwrap().as_secs_f64();
        assert!(seconds > 60.0, "{seconds}");
    }
}
