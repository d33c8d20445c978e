//! Temperature: the divisor of logits, applied in f32 before top-k, so that ties are the same as in
//! transformers.

/// Divides every logit. `temperature` is above 0 and the best score stays finite: [`is_greedy`] was
/// checked before.
pub(crate) fn apply(logits: &mut [f32], temperature: f32) {
    if temperature != 1.0 {
        logits.iter_mut().for_each(|score| *score /= temperature);
    }
}

/// Returns `true` if only `best`, the largest score, can be sampled: at temperature 0, and if a
/// temperature or a repetition penalty is so small that the division overflows.
pub(crate) fn is_greedy(temperature: f32, best: f32) -> bool {
    temperature == 0.0 || !(best / temperature).is_finite()
}
