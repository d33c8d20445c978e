use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use moss_model::{CacheShape, LanguageModel, Logits, ModelError, Moss, MossConfig, SequenceChunk};
use moss_testing::model::Fault;

/// A model that is slowed down, counts its forward passes, and fails in one of them.
pub(super) struct Paced {
    pub(super) model: Moss,
    pub(super) pause: Duration,
    pub(super) by_token: Duration,
    pub(super) fault: Fault,
    pub(super) passes: Arc<AtomicUsize>,
    pub(super) fails_at: Arc<AtomicUsize>,
}

impl LanguageModel for Paced {
    fn config(&self) -> &MossConfig {
        self.model.config()
    }

    fn cache_shape(&self) -> CacheShape {
        self.model.cache_shape()
    }

    fn forward(
        &mut self,
        batch: &[SequenceChunk<'_>],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Vec<Logits>, ModelError> {
        thread::sleep(self.pause);
        if !self.by_token.is_zero() {
            for _ in batch.iter().flat_map(|chunk| chunk.token_ids) {
                thread::sleep(self.by_token);
                if interrupted() {
                    return Err(ModelError::Interrupted);
                }
            }
        }
        if self.passes.fetch_add(1, SeqCst) == self.fails_at.load(SeqCst) {
            return Err(self.fault.error(batch.len()).unwrap());
        }
        self.model.forward(batch, interrupted)
    }

    fn weight_bytes_per_token(&self) -> u64 {
        self.model.weight_bytes_per_token()
    }

    fn cache_bytes_per_position(&self) -> u64 {
        self.model.cache_bytes_per_position()
    }
}
