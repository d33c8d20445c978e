//! The length penalty of upstream's `moss_inference.py`. It acts on probabilities after all
//! truncations, so a stop token that was removed stays removed.

use crate::{StopLengthPenalty, candidate::Candidate};

/// Limit on the exponent, in tokens, against overflow. The probability has converged before.
const LONGEST: usize = 10_000;

/// Multiplies the weights of kept stop tokens by `factor^(generated - after)`.
pub(crate) fn apply(candidates: &mut [Candidate], penalty: &StopLengthPenalty, generated: usize) {
    let past = generated.saturating_sub(penalty.after).min(LONGEST) as i32;
    if past == 0 {
        return;
    }
    let power = f64::from(penalty.factor).powi(past);
    for candidate in candidates
        .iter_mut()
        .filter(|candidate| penalty.stop_ids.contains(&candidate.id))
    {
        // Neither 0 nor infinite: weights are later divided by their sum.
        candidate.weight = (candidate.weight * power).clamp(f64::MIN_POSITIVE, 1e300);
    }
}
