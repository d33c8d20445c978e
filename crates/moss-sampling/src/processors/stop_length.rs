//! The length penalty of upstream's `moss_inference.py`. It acts on probabilities after all
//! truncations, so a stop token that was removed stays removed.

use crate::{StopLengthPenalty, candidate::Candidate};

/// Limit on the exponent, in tokens, against overflow. The probability has converged before.
const LONGEST: usize = 10_000;

/// Returns the factor of the weights of stop tokens after `generated` tokens,
/// `factor^(generated - after)`; `None` without a penalty.
pub(crate) fn factor(penalty: Option<&StopLengthPenalty>, generated: usize) -> Option<f64> {
    let penalty = penalty?;
    let past = generated.saturating_sub(penalty.after).min(LONGEST) as i32;
    (past > 0).then(|| f64::from(penalty.factor).powi(past))
}

/// Multiplies the weights of kept stop tokens by [`factor`].
pub(crate) fn apply(candidates: &mut [Candidate], stop_ids: &[u32], factor: f64) {
    for candidate in candidates
        .iter_mut()
        .filter(|candidate| stop_ids.contains(&candidate.id))
    {
        candidate.weight = weight(candidate.weight, factor);
    }
}

/// Returns the product, neither 0 nor infinite: weights are later divided by their sum.
pub(crate) fn weight(weight: f64, factor: f64) -> f64 {
    (weight * factor).clamp(f64::MIN_POSITIVE, 1e300)
}
