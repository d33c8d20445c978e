//! Passes over a whole row of logits, written so that the compiler makes vector code of them: at
//! 107 008 entries, order of evaluation is what they cost.

use crate::SamplingError;

/// Independent partial results; two or four vector registers.
const LANES: usize = 16;

/// The largest of `scores`, which hold no NaN; `-inf` when there are none.
pub(crate) fn largest(scores: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    fold(scores, f32::NEG_INFINITY, |score| score, larger)
}

/// The best token, the lowest id among equals; `None` when all are `-inf`.
pub(crate) fn best_token(scores: &[f32]) -> Option<usize> {
    let best = largest(scores);
    if best == f32::NEG_INFINITY {
        None
    } else {
        scores.iter().position(|score| *score == best)
    }
}

/// Refuses NaN and `+inf`, which no token can be drawn from; `-inf` rules a token out and is
/// welcome.
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

/// A fold in any order, for operations that do not mind.
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
