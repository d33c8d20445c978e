//! Logit bias: numbers added to the scores of single tokens, before everything else of the chain.

/// Ids without a logit are passed over.
pub(crate) fn apply(logits: &mut [f32], bias: &[(u32, f32)]) {
    for (id, bias) in bias {
        if let Some(logit) = logits.get_mut(*id as usize) {
            *logit += bias;
        }
    }
}
