//! The measured speed of prefill and decode.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Prompt tokens, or decode steps, after which older measurements count half.
const HALF_LIFE: f64 = 2048.0;

/// Running rates of prefill and decode.
#[derive(Debug, Default)]
pub(crate) struct Speed(Mutex<[Rate; 2]>);

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
    /// Records a forward batch that took `time`. A batch with prompt tokens counts as prefill, even
    /// if it also decodes: that is the rate of a prompt among running requests.
    pub(crate) fn record(&self, prompt_tokens: usize, time: Duration) {
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [prefill, decode] = &mut *rates;
        match prompt_tokens {
            0 => decode.add(1, time),
            tokens => prefill.add(tokens, time),
        }
    }

    /// Predicts the time of prompt tokens and decode steps. Returns `None` without a measurement of
    /// prefill. Without a measurement of decode, a step counts as a prompt token.
    pub(crate) fn predict(&self, prompt_tokens: usize, decode_steps: usize) -> Option<Duration> {
        let [prefill, decode] = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let per_step = decode
            .predict(decode_steps)
            .or_else(|| prefill.predict(decode_steps))?;
        Duration::try_from_secs_f64(prefill.predict(prompt_tokens)? + per_step).ok()
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
        speed.record(0, Duration::from_secs(1));
        assert_eq!(speed.predict(100, 0), None);
        speed.record(4, Duration::from_secs(1));
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
            speed.record(256, Duration::from_secs(1));
        }
        for _ in 0..100 {
            speed.record(256, Duration::from_secs(64));
        }
        let seconds = speed.predict(256, 0).unwrap().as_secs_f64();
        assert!(seconds > 60.0, "{seconds}");
    }
}
