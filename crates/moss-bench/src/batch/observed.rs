//! A model that notes when each forward pass begins, and how many sequences and positions it has.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use moss_model::{
    CacheShape, LanguageModel, Logits, ModelError, MossConfig, SequenceChunk, TokenKind,
};

/// A forward pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    pub(super) began: Instant,
    pub(super) sequences: usize,
    /// Positions to which the new tokens attend, over all sequences.
    pub(super) positions: usize,
    /// Every sequence has one generated token.
    pub(super) is_decode: bool,
}

impl Pass {
    fn of(batch: &[SequenceChunk<'_>]) -> Self {
        let end = |chunk: &SequenceChunk<'_>| chunk.start_pos + chunk.token_ids.len();
        let is_step = |chunk: &SequenceChunk<'_>| {
            chunk.kind == TokenKind::Generated && chunk.token_ids.len() == 1
        };
        Self {
            began: Instant::now(),
            sequences: batch.len(),
            positions: batch.iter().map(end).sum(),
            is_decode: batch.iter().all(is_step),
        }
    }
}

/// The forward passes of an [`ObservedModel`], shared with the thread that submits requests.
#[derive(Debug, Clone, Default)]
pub(super) struct PassLog {
    passes: Arc<Mutex<Vec<Pass>>>,
    gate: Arc<Mutex<()>>,
}

impl PassLog {
    /// Delays the next forward pass until the guard is dropped, so that requests that are submitted
    /// meanwhile start together.
    pub(super) fn hold(&self) -> MutexGuard<'_, ()> {
        locked(&self.gate)
    }

    /// Removes and returns the passes.
    pub(super) fn take(&self) -> Vec<Pass> {
        std::mem::take(&mut *locked(&self.passes))
    }
}

/// Locks data that a panic of another thread leaves valid.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wraps a model and adds its forward passes to a log.
pub(super) struct ObservedModel<M> {
    pub(super) model: M,
    pub(super) log: PassLog,
}

impl<M: LanguageModel> LanguageModel for ObservedModel<M> {
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
        drop(self.log.hold());
        locked(&self.log.passes).push(Pass::of(batch));
        self.model.forward(batch, interrupted)
    }

    fn weight_bytes_per_token(&self) -> u64 {
        self.model.weight_bytes_per_token()
    }

    fn cache_bytes_per_position(&self) -> u64 {
        self.model.cache_bytes_per_position()
    }

    fn prefill_chunk(&self) -> usize {
        self.model.prefill_chunk()
    }

    fn prefill_tile(&self) -> usize {
        self.model.prefill_tile()
    }

    fn decode_rows(&self) -> usize {
        self.model.decode_rows()
    }

    fn runs_on_cpu(&self) -> bool {
        self.model.runs_on_cpu()
    }

    fn shares_blocks(&self) -> bool {
        self.model.shares_blocks()
    }
}
