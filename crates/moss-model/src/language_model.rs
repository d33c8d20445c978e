//! What an engine may ask of a model: rows in, logits out.

use crate::{BlockTable, CacheShape, ModelError, MossConfig};

/// Which positions of a chunk need their logits: only those go through `lm_head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogitRows {
    /// None: a prompt chunk that is not the last one.
    None,
    /// The last position alone: what generation needs.
    Last,
    /// Every position of the chunk: what comparisons need.
    All,
}

/// Consecutive tokens of one sequence within a forward pass.
#[derive(Debug, Clone, Copy)]
pub struct SequenceChunk<'a> {
    /// Token ids to run, oldest first; at least one.
    pub token_ids: &'a [u32],
    /// Position of `token_ids[0]`; keys and values before it are in the cache already.
    pub start_pos: usize,
    /// Cache blocks of the sequence, enough for `start_pos + token_ids.len()` positions.
    pub blocks: &'a BlockTable,
    /// The positions whose logits come back.
    pub logits: LogitRows,
}

/// Logits of one chunk: `[rows, vocab_size]`, f32, on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    values: Vec<f32>,
    vocab_size: usize,
}

impl Logits {
    /// Wraps `[rows, vocab_size]` row-major values. A trailing partial row is dropped.
    pub fn new(mut values: Vec<f32>, vocab_size: usize) -> Self {
        let rows = values.len().checked_div(vocab_size).unwrap_or(0);
        values.truncate(rows * vocab_size);
        Self { values, vocab_size }
    }

    /// Number of rows: 0, 1 or the chunk's length, as [`LogitRows`] asked.
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.vocab_size).unwrap_or(0)
    }

    /// Row `index`, `[vocab_size]`.
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        self.values.chunks_exact(self.vocab_size.max(1)).nth(index)
    }

    /// The last row, to be edited in place by a sampler.
    pub fn last_mut(&mut self) -> Option<&mut [f32]> {
        self.values.chunks_exact_mut(self.vocab_size.max(1)).last()
    }

    /// All values, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, row-major, without a copy.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// Entries of a row.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }
}

/// A model that owns its weights and the storage of its key/value cache.
///
/// A row's logits depend on its own sequence alone: the same bits whether it runs alone, in a batch, or in another
/// chunking of its prompt.
pub trait LanguageModel: Send {
    /// Sizes of the network.
    fn config(&self) -> &MossConfig;

    /// How many cache blocks there are, and how many positions each holds. The caller shares them out.
    fn cache_shape(&self) -> CacheShape;

    /// Runs every chunk, writes its keys and values into the cache, and returns one [`Logits`] a chunk, in order.
    ///
    /// `interrupted` is asked between layers; once it says true the pass ends with [`ModelError::Interrupted`], and
    /// the positions of this batch count as not written.
    ///
    /// # Errors
    /// [`ModelError::WindowFull`] past the trained positions, [`ModelError::BlocksMissing`] where a table is too short,
    /// [`ModelError::UnknownToken`] for an id without an embedding row, [`ModelError::NonFinite`] where a layer's output is
    /// inf or NaN.
    fn forward(
        &mut self,
        batch: &[SequenceChunk<'_>],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Vec<Logits>, ModelError>;

    /// Bytes of weights that one decoded token reads.
    fn weight_bytes_per_token(&self) -> u64;

    /// Bytes of keys and values that one position keeps, over all layers.
    fn cache_bytes_per_position(&self) -> u64;
}
