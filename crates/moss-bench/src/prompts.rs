//! Prompts of concurrent requests.

use moss_model::Moss;

use crate::model_timing::synthetic_token_ids;

/// Prompts of synthetic tokens, none of which begins like another one: a cached prefix would save
/// work.
pub(crate) struct Prompts {
    ids: Vec<u32>,
    next: usize,
}

impl Prompts {
    /// Different prompts, after which they repeat.
    const COUNT: usize = 4096;

    pub(crate) fn new(model: &Moss, longest: usize) -> Self {
        let ids = synthetic_token_ids(model, longest + Self::COUNT);
        Self { ids, next: 0 }
    }

    /// Returns the next prompt, of `tokens`.
    pub(crate) fn next(&mut self, tokens: usize) -> Vec<u32> {
        self.next = (self.next + 1) % Self::COUNT;
        self.ids[self.next..][..tokens].to_vec()
    }
}
