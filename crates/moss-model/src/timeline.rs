//! When each stage worked on which pass, as the host's clock has it.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

/// A moment that may lie ahead: a card notes it when its stream comes by.
pub(crate) type Moment = Arc<OnceLock<Instant>>;

/// One stage's work on one pass of a forward. The wait for the stage in front is not in it, nor is
/// the head's work on a pass of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageSpan {
    /// The stage.
    pub stage: usize,
    /// The pass, from 0 on.
    pub pass: usize,
    /// Rows of the pass.
    pub rows: usize,
    /// From the beginning of the forward.
    pub begin: Duration,
    /// From the beginning of the forward.
    pub end: Duration,
}

/// Spans that are still being noted.
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

    /// A new span, whose beginning and end are to be noted.
    pub(crate) fn span(&mut self, stage: usize, pass: usize, rows: usize) -> [Moment; 2] {
        let moments = [Moment::default(), Moment::default()];
        self.spans.push((stage, pass, rows, moments.clone()));
        moments
    }

    /// Those that were noted.
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

/// Notes that now is the moment, the first time.
pub(crate) fn note(moment: &Moment) {
    let _ = moment.set(Instant::now()); // it may have been
}
