//! What an engine may ask of a model: rows in, logits or the best of them out.

use moss_sampling::{TopKCandidates, TopKRequest};

use crate::{BlockTable, CacheShape, ModelError, MossConfig};

/// Which positions of a chunk need their logits: only those go through `lm_head`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LogitRows<'a> {
    /// None: a prompt chunk that is not the last one.
    None,
    /// The last position alone: what generation needs.
    Last,
    /// Every position of the chunk: what comparisons need.
    All,
    /// The top-k candidates of the last position: all that sampling needs of it in the end, and a
    /// hundredth of its size. A model may always return the whole row instead.
    TopK(TopKRequest<'a>),
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
    pub logits: LogitRows<'a>,
}

/// Logits of one chunk: `[rows, vocab_size]`, f32, on the host; or the candidates that a
/// [`TopKRequest`] selects of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    values: Vec<f32>,
    vocab_size: usize,
    candidates: Option<TopKCandidates>,
}

impl Logits {
    /// Wraps `[rows, vocab_size]` row-major values. A trailing partial row is dropped.
    pub fn new(mut values: Vec<f32>, vocab_size: usize) -> Self {
        let rows = values.len().checked_div(vocab_size).unwrap_or(0);
        values.truncate(rows * vocab_size);
        Self {
            values,
            vocab_size,
            candidates: None,
        }
    }

    /// Wraps the candidates of a [`TopKRequest`], in place of a row.
    pub fn from_top_k(candidates: TopKCandidates, vocab_size: usize) -> Self {
        Self {
            values: Vec::new(),
            vocab_size,
            candidates: Some(candidates),
        }
    }

    /// Returns the candidates of a [`TopKRequest`]; `None` if there are rows instead.
    pub fn candidates(&self) -> Option<&TopKCandidates> {
        self.candidates.as_ref()
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
/// A row's logits depend on its own sequence alone: the same bits whether it runs alone, in a
/// batch, or in another chunking of its prompt. On a GPU its bits also depend on the chunking,
/// which is why that depends on the request alone.
pub trait LanguageModel: Send {
    /// Sizes of the network.
    fn config(&self) -> &MossConfig;

    /// How many cache blocks there are, and how many positions each holds. The caller shares them
    /// out.
    fn cache_shape(&self) -> CacheShape;

    /// Runs every chunk, writes its keys and values into the cache, and returns one [`Logits`] a
    /// chunk, in order.
    ///
    /// `interrupted` is asked between layers; once it says true the pass ends with
    /// [`ModelError::Interrupted`], and the positions of this batch count as not written.
    ///
    /// # Errors
    /// [`ModelError::WindowFull`] past the trained positions, [`ModelError::BlocksMissing`] where a
    /// table is too short, [`ModelError::UnknownToken`] for an id without an embedding row,
    /// [`ModelError::NonFinite`] where a layer's output is inf or NaN.
    fn forward(
        &mut self,
        batch: &[SequenceChunk<'_>],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Vec<Logits>, ModelError>;

    /// Bytes of weights that one decoded token reads.
    fn weight_bytes_per_token(&self) -> u64;

    /// Bytes of keys and values that one position keeps, over all layers.
    fn cache_bytes_per_position(&self) -> u64;

    /// Returns the number of prompt tokens that one pass should process, so that it is bound by
    /// arithmetic and not by memory bandwidth.
    fn prefill_chunk(&self) -> usize {
        256
    }

    /// Returns whether a part of the model runs on a CPU, where a pass takes much longer.
    fn runs_on_cpu(&self) -> bool {
        true
    }
}
