//! Min-p. Source: arXiv 2407.01082.

use crate::candidate::Candidate;

/// Removes candidates less likely than `min_p` times the best one. The best one has weight 1 and
/// is always kept.
pub(crate) fn keep(candidates: &mut Vec<Candidate>, min_p: f32) {
    if min_p > 0.0 {
        candidates.retain(|candidate| candidate.weight >= f64::from(min_p));
    }
}
