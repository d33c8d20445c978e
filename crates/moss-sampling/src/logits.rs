//! Reductions over all logits, in a form that the compiler vectorizes: with 107 008 logits, the
//! latency of sequential evaluation would dominate.

use crate::SamplingError;

/// Independent partial results; two or four vector registers.
const LANES: usize = 16;

/// Returns the largest of `scores`, which have no NaN; `-inf` for an empty slice.
pub(crate) fn largest(scores: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    fold(scores, f32::NEG_INFINITY, |score| score, larger)
}

/// Returns the most likely token, the lowest id among equals; `None` if all are `-inf`.
pub(crate) fn best_token(scores: &[f32]) -> Option<usize> {
    let best = largest(scores);
    if best == f32::NEG_INFINITY {
        None
    } else {
        scores.iter().position(|score| *score == best)
    }
}

/// Rejects NaN and `+inf`. `-inf` is valid: it excludes a token.
pub(crate) fn check(logits: &[f32], step: usize) -> Result<(), SamplingError> {
    // Without the sign, infinities and NaN are the largest bit patterns.
    let magnitude = |logit: f32| (logit.to_bits() & 0x7fff_ffff) as i32;
    if fold(logits, 0, magnitude, i32::max) < magnitude(f32::INFINITY) {
        return Ok(());
    }
    match logits
        .iter()
        .position(|logit| logit.is_nan() || *logit == f32::INFINITY)
    {
        Some(id) => Err(SamplingError::BadLogits {
            step,
            id,
            value: logits[id],
        }),
        None => Ok(()),
    }
}

/// Folds in any order; `join` must be associative and commutative.
fn fold<T: Copy>(values: &[f32], start: T, map: impl Fn(f32) -> T, join: impl Fn(T, T) -> T) -> T {
    let mut lanes = [start; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = join(*lane, map(*value));
        }
    }
    let rest = rest.iter().fold(start, |sum, value| join(sum, map(*value)));
    lanes.into_iter().fold(rest, join)
}
