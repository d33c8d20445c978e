//! What loading takes: the cards' opening, and the weights after it.

use std::time::Instant;

use moss::model::LoadEvent;

pub(super) struct Loading {
    start: Instant,
    /// When all cards were open and the layers shared out.
    planned: Option<Instant>,
    /// For the cards.
    card_bytes: u64,
    /// In all.
    pub(super) seconds: f64,
}

impl Loading {
    pub(super) fn start() -> Self {
        Self {
            start: Instant::now(),
            planned: None,
            card_bytes: 0,
            seconds: 0.0,
        }
    }

    /// Takes note of what `tell` is told.
    pub(super) fn watch(&mut self, mut tell: impl FnMut(LoadEvent)) -> impl FnMut(LoadEvent) {
        move |event| {
            if let LoadEvent::Planned { memory, .. } = &event {
                self.planned = Some(Instant::now());
                self.card_bytes += memory.weights + memory.embedding;
            }
            tell(event);
        }
    }

    pub(super) fn finish(&mut self) {
        self.seconds = self.start.elapsed().as_secs_f64();
    }

    /// Seconds that the weights of the cards took, without the cards' opening, and bytes of them a
    /// second.
    pub(super) fn of_cards(&self) -> Option<(f64, f64)> {
        let seconds = self.seconds - self.planned?.duration_since(self.start).as_secs_f64();
        Some((seconds, self.card_bytes as f64 / seconds))
    }
}
