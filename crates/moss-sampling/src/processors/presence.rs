//! Presence and frequency penalty: subtracted from the logits of tokens in the reply, once and once
//! per occurrence. The formula is that of OpenAI's API reference; the prompt does not count.

use std::collections::HashMap;

/// Edits the logits of tokens in `reply`; ids without a logit are ignored.
pub(crate) fn apply(logits: &mut [f32], reply: &[u32], presence: f32, frequency: f32) {
    if presence == 0.0 && frequency == 0.0 {
        return;
    }
    let mut counts: HashMap<u32, f32> = HashMap::new();
    for id in reply {
        *counts.entry(*id).or_default() += 1.0;
    }
    for (id, count) in counts {
        if let Some(logit) = logits.get_mut(id as usize) {
            *logit -= presence + frequency * count;
        }
    }
}
