//! The length penalty of upstream's `moss_inference.py`. It acts on probabilities after all
//! truncations, so a stop token that was removed stays removed.

use crate::{StopLengthPenalty, candidate::Candidate};

/// Limit on the exponent, in tokens, against overflow. The probability has converged before.
const LONGEST: usize = 10_000;

/// Returns the factor of the weights of stop tokens after `generated` tokens,
/// `factor^(generated - after)`; `None` without a penalty.
pub(crate) fn factor(penalty: Option<&StopLengthPenalty>, generated: usize) -> Option<f64> {
    let penalty = penalty?;
    let past = generated.saturating_sub(penalty.after).min(LONGEST) as u32;
    (past > 0).then(|| power(f64::from(penalty.factor), past).min(f64::MAX))
}

/// Returns `base^exponent` by repeated squaring: unlike `powi`, the same bits on every platform.
fn power(mut base: f64, mut exponent: u32) -> f64 {
    let mut product = 1.0;
    while exponent > 0 {
        if exponent % 2 == 1 {
            product *= base;
        }
        base *= base;
        exponent /= 2;
    }
    product
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_exact_where_f64_is_and_never_make_a_weight_nan() {
        assert_eq!(power(1.5, 0), 1.0);
        assert_eq!(power(1.5, 7), 17.0859375);
        assert_eq!(power(0.5, 40), 2f64.powi(-40));
        let penalty = StopLengthPenalty {
            stop_ids: vec![1],
            after: 0,
            factor: 2.0,
        };
        let huge = factor(Some(&penalty), 5000).unwrap_or_default();
        assert_eq!(huge, f64::MAX);
        assert_eq!(weight(0.0, huge), f64::MIN_POSITIVE);
        assert_eq!(weight(1.0, huge), 1e300);
    }
}
