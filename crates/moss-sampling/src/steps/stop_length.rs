//! The length penalty of upstream's `moss_inference.py`: on probabilities, after all filters, so a
//! stop token that was cut stays cut.

use crate::{StopLengthPenalty, candidate::Candidate};

/// Powers grow no further than this, in tokens past the free ones: any factor has long decided by
/// then.
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
        // Neither impossible nor infinite: the weights' sum is divided by later.
        candidate.weight = (candidate.weight * power).clamp(f64::MIN_POSITIVE, 1e300);
    }
}
