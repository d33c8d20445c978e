//! Repetition penalty. Source: CTRL, arXiv 1909.05858, section 4.1, as implemented in transformers.

/// Edits the logits of tokens in a history, each once, regardless of the number of occurrences.
#[derive(Debug, Clone, Default)]
pub(crate) struct Repetition {
    /// Number of the last call that has seen each token, so nothing is cleared between calls.
    seen: Vec<u32>,
    call: u32,
}

impl Repetition {
    /// Divides positive logits by `penalty`, and multiplies negative ones. Ids without a logit are
    /// ignored.
    pub(crate) fn apply(&mut self, logits: &mut [f32], history: &[u32], penalty: f32) {
        if penalty == 1.0 {
            return;
        }
        self.call = self.call.wrapping_add(1);
        if self.seen.len() != logits.len() || self.call == 0 {
            self.seen = vec![0; logits.len()];
            self.call = 1;
        }
        for &id in history {
            let (Some(logit), Some(seen)) =
                (logits.get_mut(id as usize), self.seen.get_mut(id as usize))
            else {
                continue;
            };
            if *seen != self.call {
                *seen = self.call;
                *logit = if *logit < 0.0 {
                    *logit * penalty
                } else {
                    *logit / penalty
                };
            }
        }
    }
}
