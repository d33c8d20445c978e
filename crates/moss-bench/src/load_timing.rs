//! The time of loading a model: opening the GPUs, then loading the weights.

use std::time::Instant;

use moss_model::LoadEvent;

/// Times the loading of a model by its events.
#[derive(Debug)]
pub struct LoadTimer {
    start: Instant,
    /// The time at which all GPUs were open and the layers were placed.
    planned: Option<Instant>,
    /// Bytes for the GPUs.
    gpu_bytes: u64,
    /// Total seconds, after [`LoadTimer::finish`].
    pub seconds: f64,
}

impl LoadTimer {
    /// Starts the clock.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
            planned: None,
            gpu_bytes: 0,
            seconds: 0.0,
        }
    }

    /// Returns a listener that records the events and passes them to `next`.
    pub fn watch(&mut self, mut next: impl FnMut(LoadEvent)) -> impl FnMut(LoadEvent) {
        move |event| {
            if let LoadEvent::Planned { plan, .. } = &event {
                self.planned = Some(Instant::now());
                self.gpu_bytes += plan.weights + plan.embedding;
            }
            next(event);
        }
    }

    /// Stops the clock.
    pub fn finish(&mut self) {
        self.seconds = self.start.elapsed().as_secs_f64();
    }

    /// Returns the seconds of loading the weights of the GPUs, without opening the GPUs, and their
    /// bytes per second.
    pub fn gpu_weights(&self) -> Option<(f64, f64)> {
        let seconds = self.seconds - self.planned?.duration_since(self.start).as_secs_f64();
        Some((seconds, self.gpu_bytes as f64 / seconds))
    }
}
