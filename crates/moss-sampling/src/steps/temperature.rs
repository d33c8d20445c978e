//! Temperature: scores are divided by it, in f32 and before top-k, so that what ties in
//! transformers ties here.

/// Divides every score. `temperature` is above 0 and the best score stays finite ([`is_greedy`] is
/// asked first).
pub(crate) fn apply(logits: &mut [f32], temperature: f32) {
    if temperature != 1.0 {
        logits.iter_mut().for_each(|score| *score /= temperature);
    }
}

/// Whether only `best`, the largest score, can be drawn: at 0, and where a temperature or a
/// repetition penalty is so small that dividing by it overflows.
pub(crate) fn is_greedy(temperature: f32, best: f32) -> bool {
    temperature == 0.0 || !(best / temperature).is_finite()
}
