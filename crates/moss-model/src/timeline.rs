//! The times at which each stage worked on each micro-batch, by the host's clock.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

/// A time that is recorded later: for a GPU, when its stream reaches the event.
pub(crate) type Moment = Arc<OnceLock<Instant>>;

/// The work of one stage on one micro-batch. Excludes the wait for the previous stage, and lm_head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageSpan {
    /// The stage.
    pub stage: usize,
    /// Index of the micro-batch.
    pub pass: usize,
    /// Tokens of the micro-batch.
    pub rows: usize,
    /// Time since the start of the forward batch.
    pub begin: Duration,
    /// Time since the start of the forward batch.
    pub end: Duration,
}

/// The spans of one forward batch.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    spans: Vec<(usize, usize, usize, [Moment; 2])>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            spans: Vec::new(),
        }
    }

    /// Adds a span and returns its start and end, which are recorded later.
    pub(crate) fn span(&mut self, stage: usize, pass: usize, rows: usize) -> [Moment; 2] {
        let moments = [Moment::default(), Moment::default()];
        self.spans.push((stage, pass, rows, moments.clone()));
        moments
    }

    /// Returns the spans that were recorded.
    pub(crate) fn spans(&self) -> Vec<StageSpan> {
        let since = |moment: &Moment| Some(moment.get()?.duration_since(self.start));
        let span = |(stage, pass, rows, [begin, end]): &(usize, usize, usize, [Moment; 2])| {
            let (begin, end) = (since(begin)?, since(end)?);
            Some(StageSpan {
                stage: *stage,
                pass: *pass,
                rows: *rows,
                begin,
                end,
            })
        };
        self.spans.iter().filter_map(span).collect()
    }
}

/// Records the current time, if none was recorded.
pub(crate) fn note(moment: &Moment) {
    let _ = moment.set(Instant::now());
}
