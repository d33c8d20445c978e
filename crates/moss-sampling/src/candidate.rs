//! A token that may be drawn.

use std::cmp::Ordering;

/// A token, its score, and its weight once [`weigh`] has given it one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) id: u32,
    /// Penalised and divided by the temperature; finite.
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

/// Best first; among equals the higher id first, since transformers sorts upwards and cuts from
/// below.
pub(crate) fn best_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.score
        .partial_cmp(&a.score)
        .unwrap_or(Ordering::Equal)
        .then(b.id.cmp(&a.id))
}

/// Gives every candidate its weight `exp(score - best)`.
pub(crate) fn weigh(candidates: &mut [Candidate]) {
    let best = candidates
        .iter()
        .fold(f32::NEG_INFINITY, |best, candidate| {
            best.max(candidate.score)
        });
    for candidate in candidates {
        candidate.weight = f64::from(candidate.score - best).exp();
    }
}
