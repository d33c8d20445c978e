//! The number of draft tokens of a step: pure decisions over measured times and acceptance.

use std::time::Duration;

use crate::Speculation;

/// The most rows of a step with drafts: sequences × (1 + drafts). The matrix products of a GPU cost
/// the same for one to eight rows.
pub(crate) const MAX_ROWS: usize = 1 + Speculation::MAX_DRAFTS;

/// Drafts are used if they are predicted to save this share of the time per token.
const LEAST_GAIN: f64 = 0.01;

/// The share of the time of plain steps that drafts may lose.
const ALLOWED_LOSS: f64 = 0.01;

/// Plain steps that drafts may lose before they have saved any.
const FIRST_LOSS: f64 = 1.0;

/// The most plain steps that drafts may lose after they have saved as many.
const MOST_LOSS: f64 = 4.0;

/// Steps with drafts after which a plain step is measured again.
const PLAIN_EVERY: usize = 64;

/// Steps without drafts after which some are tried, if they can be afforded: the text may have begun
/// to repeat itself.
const TRY_EVERY: usize = 64;

/// The weight of a new time in the running mean.
const NEW_WEIGHT: f64 = 0.2;

/// A time beyond this multiple of the mean counts as this multiple.
const OUTLIER: f64 = 3.0;

/// The acceptance of drafts of one sequence, by the length of the match that they continue.
#[derive(Debug, Clone)]
pub(crate) struct Acceptance([Rate; 5]);

/// Accepted and verified drafts, with those that are assumed at first.
#[derive(Debug, Clone, Copy)]
struct Rate {
    accepted: f64,
    verified: f64,
}

impl Rate {
    /// Weight of the assumption.
    const ASSUMED: f64 = 4.0;
    /// Verified drafts after which older ones count half.
    const HALF_LIFE: f64 = 16.0;

    fn assumed(probability: f64) -> Self {
        Self {
            accepted: probability * Self::ASSUMED,
            verified: Self::ASSUMED,
        }
    }
}

impl Default for Acceptance {
    fn default() -> Self {
        Self([0.15, 0.35, 0.5, 0.7, 0.85].map(Rate::assumed))
    }
}

impl Acceptance {
    fn class(match_len: usize) -> usize {
        match match_len {
            0 | 1 => 0,
            2 => 1,
            3 | 4 => 2,
            5..=8 => 3,
            _ => 4,
        }
    }

    /// Returns the probability that a draft is accepted if those before it are.
    pub(crate) fn probability(&self, match_len: usize) -> f64 {
        let rate = self.0[Self::class(match_len)];
        rate.accepted / rate.verified
    }

    /// Records that `accepted` of `drafts` were accepted. Those after the first rejected one were
    /// not verified.
    pub(crate) fn record(&mut self, match_len: usize, drafts: usize, accepted: usize) {
        let rate = &mut self.0[Self::class(match_len)];
        if rate.verified > Rate::HALF_LIFE {
            rate.accepted /= 2.0;
            rate.verified /= 2.0;
        }
        rate.accepted += accepted as f64;
        rate.verified += (accepted + usize::from(accepted < drafts)) as f64;
    }
}

/// The drafts that a sequence could have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Proposal {
    /// The most drafts.
    pub(crate) most: usize,
    /// [`Acceptance::probability`]
    pub(crate) probability: f64,
}

impl Proposal {
    /// Returns the expected number of tokens of a step with `drafts`.
    fn expected(&self, drafts: usize) -> f64 {
        let mut reached = 1.0;
        let mut tokens = 1.0;
        for _ in 0..drafts.min(self.most) {
            reached *= self.probability;
            tokens += reached;
        }
        tokens
    }
}

/// The running mean of the seconds of a step.
#[derive(Debug, Clone, Copy, Default)]
struct StepTime {
    measured: usize,
    seconds: f64,
}

impl StepTime {
    /// Adds a measurement. The first one is dropped: it may contain the capture of a CUDA graph.
    fn add(&mut self, seconds: f64) {
        self.measured += 1;
        match self.measured {
            1 => {}
            2 => self.seconds = seconds,
            _ => {
                let seconds = seconds.min(OUTLIER * self.seconds);
                self.seconds += NEW_WEIGHT * (seconds - self.seconds);
            }
        }
    }

    fn get(&self) -> Option<f64> {
        (self.measured > 1).then_some(self.seconds)
    }
}

/// Chooses the number of drafts of each step.
///
/// `auto` maximizes the expected tokens per second, from the measured time of steps with so many
/// rows and the acceptance of each sequence. It keeps account of the time that drafts have saved:
/// steps that may lose more than that, plus one per cent of the time of plain steps, run without
/// drafts. In the worst case, decoding is therefore one per cent slower than without drafts.
#[derive(Debug)]
pub(crate) struct Speculator {
    mode: Speculation,
    /// By the number of sequences and of rows, less one.
    times: [[StepTime; MAX_ROWS]; MAX_ROWS],
    /// Plain steps that drafts may lose.
    balance: f64,
    /// Steps with drafts since the last plain one.
    since_plain: usize,
    /// Plain steps since the last one with drafts.
    since_drafts: usize,
}

impl Speculator {
    pub(crate) fn new(mode: Speculation) -> Self {
        Self {
            mode,
            times: Default::default(),
            balance: FIRST_LOSS,
            since_plain: 0,
            since_drafts: 0,
        }
    }

    /// Returns `false` if there are never drafts for `sequences`, so none need be searched.
    pub(crate) fn is_possible(&self, sequences: usize) -> bool {
        self.mode != Speculation::Off && sequences > 0 && 2 * sequences <= MAX_ROWS
    }

    /// Returns the most drafts of each sequence in the next step. `proposals` has an entry per
    /// sequence, `None` for one without drafts.
    pub(crate) fn choose(&self, proposals: &[Option<Proposal>]) -> usize {
        let sequences = proposals.len();
        if !self.is_possible(sequences) || proposals.iter().all(Option::is_none) {
            return 0;
        }
        let most = MAX_ROWS / sequences - 1;
        match self.mode {
            Speculation::Off => 0,
            Speculation::Drafts(drafts) => drafts.min(most),
            Speculation::Auto => self.best(proposals, most),
        }
    }

    fn best(&self, proposals: &[Option<Proposal>], most: usize) -> usize {
        let sequences = proposals.len();
        let Some(plain) = self.times[sequences - 1][sequences - 1].get() else {
            return 0;
        };
        if self.since_plain >= PLAIN_EVERY {
            return 0;
        }
        let plain_rate = sequences as f64 / plain;
        let (mut best, mut best_rate) = (0, plain_rate * (1.0 + LEAST_GAIN));
        let mut affordable = 0;
        let mut measured = (sequences, plain);
        for drafts in 1..=most {
            let given = proposals.iter().flatten();
            let rows = sequences + given.map(|p| p.most.min(drafts)).sum::<usize>();
            // Without a measurement: the next smaller one if nothing else costs more, and in the
            // worst case in proportion to the rows.
            let (time, longest) = match self.times[sequences - 1][rows - 1].get() {
                Some(time) => {
                    measured = (rows, time);
                    (time, time)
                }
                None => (measured.1, measured.1 * rows as f64 / measured.0 as f64),
            };
            if longest / plain - 1.0 > self.balance {
                continue;
            }
            affordable = drafts;
            let expected = |proposal: &Option<Proposal>| match proposal {
                Some(proposal) => proposal.expected(drafts),
                None => 1.0,
            };
            let rate = proposals.iter().map(expected).sum::<f64>() / time;
            if rate > best_rate {
                (best, best_rate) = (drafts, rate);
            }
        }
        if best == 0 && self.since_drafts >= TRY_EVERY {
            return affordable;
        }
        best
    }

    /// Adds the time of a step without prompt tokens: `rows` of `sequences` gave `tokens` in `time`.
    pub(crate) fn record(&mut self, sequences: usize, rows: usize, tokens: usize, time: Duration) {
        if sequences == 0 || rows > MAX_ROWS || sequences > rows {
            return;
        }
        let seconds = time.as_secs_f64();
        let of_sequences = &mut self.times[sequences - 1];
        let plain = of_sequences[sequences - 1].get();
        let is_first = of_sequences[rows - 1].measured == 0;
        of_sequences[rows - 1].add(seconds);
        if rows == sequences {
            self.since_plain = 0;
            self.since_drafts += 1;
            self.balance = (self.balance + ALLOWED_LOSS).min(MOST_LOSS);
            return;
        }
        self.since_plain += 1;
        self.since_drafts = 0;
        if let Some(plain) = plain.filter(|plain| *plain > 0.0) {
            // The first step of this size may contain the capture of a CUDA graph.
            let most = plain * rows as f64 / sequences as f64;
            let seconds = if is_first { seconds.min(most) } else { seconds };
            let saved = tokens as f64 / sequences as f64 - seconds / plain;
            self.balance = (self.balance + saved).clamp(-MOST_LOSS, MOST_LOSS);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
