//! Presence and frequency penalty: subtracted from the scores of tokens that the answer holds
//! already, once and once an occurrence. As OpenAI's reference for chat completions gives the
//! formula; the prompt does not count.

use std::collections::HashMap;

/// Edits the logits of tokens in `answer`; ids without a logit are passed over.
pub(crate) fn apply(logits: &mut [f32], answer: &[u32], presence: f32, frequency: f32) {
    if presence == 0.0 && frequency == 0.0 {
        return;
    }
    let mut counts: HashMap<u32, f32> = HashMap::new();
    for id in answer {
        *counts.entry(*id).or_default() += 1.0;
    }
    for (id, count) in counts {
        if let Some(logit) = logits.get_mut(id as usize) {
            *logit -= presence + frequency * count;
        }
    }
}
