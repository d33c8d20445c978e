//! Min-p. Source: arXiv 2407.01082.

use crate::candidate::Candidate;

/// Drops candidates less likely than `min_p` times the best one, whose own weight of 1 always
/// stays.
pub(crate) fn keep(candidates: &mut Vec<Candidate>, min_p: f32) {
    if min_p > 0.0 {
        candidates.retain(|candidate| candidate.weight >= f64::from(min_p));
    }
}
