//! A token that may be sampled.

use std::cmp::Ordering;

use crate::exp::exp;

/// A token with its score, and with its weight after [`weigh`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) id: u32,
    /// The logit after penalties and temperature; finite.
    pub(crate) score: f32,
    /// Probability relative to the best token's, whose weight is 1.
    pub(crate) weight: f64,
}

impl Candidate {
    pub(crate) fn new(id: usize, score: f32) -> Self {
        Self {
            id: id as u32,
            score,
            weight: 0.0,
        }
    }
}

/// Orders by descending score, and equal ones by descending id, because transformers sorts in
/// ascending order and removes from the start.
pub(crate) fn best_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.score
        .partial_cmp(&a.score)
        .unwrap_or(Ordering::Equal)
        .then(b.id.cmp(&a.id))
}

/// Sets the weight of every candidate to `exp(score - best)`.
pub(crate) fn weigh(candidates: &mut [Candidate]) {
    let best = candidates
        .iter()
        .fold(f32::NEG_INFINITY, |best, candidate| {
            best.max(candidate.score)
        });
    for candidate in candidates {
        candidate.weight = exp(f64::from(candidate.score - best));
    }
}
