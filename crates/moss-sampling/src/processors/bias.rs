//! Logit bias: values added to the logits of single tokens, before the other built-in processors.

use crate::SamplingError;

/// Adds `bias`. An id without a logit is [`SamplingError::UnknownBias`].
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
