//! Logit bias: numbers added to the scores of single tokens, before everything else of the chain.

use crate::SamplingError;

/// # Errors
/// [`SamplingError::UnknownBias`] for an id without a logit.
pub(crate) fn apply(logits: &mut [f32], bias: &[(u32, f32)]) -> Result<(), SamplingError> {
    let tokens = logits.len();
    for (id, bias) in bias {
        let logit = logits
            .get_mut(*id as usize)
            .ok_or(SamplingError::UnknownBias { id: *id, tokens })?;
        *logit += bias;
    }
    Ok(())
}
