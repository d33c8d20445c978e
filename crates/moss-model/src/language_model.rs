//! The interface between engine and model: chunks of sequences in, logits or sampled tokens out.

use moss_sampling::SampleRequest;

use crate::{BlockFormat, BlockTable, CacheShape, MAX_DECODE_ROWS, ModelError, MossConfig};

/// The positions of a chunk whose logits are computed. Only those pass through lm_head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LogitRows<'a> {
    /// None, for a prompt chunk that is not the last one, or whose next token is not sampled.
    None,
    /// The last position, for generation.
    Last,
    /// Every position of the chunk, for evaluation.
    All,
    /// A token sampled from those of the last position. A model may return the logits instead.
    Sample(SampleRequest<'a>),
    /// A token sampled at each of the last positions, one per request: draft tokens that are
    /// verified together. A model may return the logits of any of them instead.
    SampleEach(&'a [SampleRequest<'a>]),
}

impl<'a> LogitRows<'a> {
    /// Returns the number of positions, the last ones of a chunk of `tokens`.
    pub fn count(&self, tokens: usize) -> usize {
        match self {
            Self::None => 0,
            Self::Last | Self::Sample(_) => tokens.min(1),
            Self::All => tokens,
            Self::SampleEach(requests) => tokens.min(requests.len()),
        }
    }

    /// Returns the request to sample at row `row` of [`LogitRows::count`].
    pub fn request(&self, row: usize) -> Option<SampleRequest<'a>> {
        match self {
            Self::None | Self::Last | Self::All => None,
            Self::Sample(request) => (row == 0).then_some(*request),
            Self::SampleEach(requests) => requests.get(row).copied(),
        }
    }
}

/// The kind of a chunk's tokens. On a GPU it selects the kernels of the layers; the number of tokens
/// never does. On the CPU results do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// Given tokens: a prompt or a chunk of it, down to a single token, and texts under evaluation.
    /// Generated tokens that are computed again, because their cache entries were evicted, are
    /// prompt tokens too.
    Prompt,
    /// Tokens that continue the model's own output: the sampled token of a decode step, or several
    /// draft tokens that are verified together. Every token is an independent row of the decode
    /// (GEMV) kernels.
    Generated,
}

/// Consecutive tokens of one sequence within a forward pass.
#[derive(Debug, Clone, Copy)]
pub struct SequenceChunk<'a> {
    /// Token ids, oldest first; at least one.
    pub token_ids: &'a [u32],
    /// The kind of all these tokens.
    pub kind: TokenKind,
    /// Position of `token_ids[0]`. Keys and values of earlier positions are in the cache already.
    pub start_pos: usize,
    /// Cache blocks of the sequence, sufficient for `start_pos + token_ids.len()` positions.
    pub blocks: &'a BlockTable,
    /// The positions whose logits are returned.
    pub logits: LogitRows<'a>,
}

/// The results of one chunk: for each of its [`LogitRows`], the token that its [`SampleRequest`]
/// draws, or its logits, f32 in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    /// `[rows without a token, vocab_size]`
    values: Vec<f32>,
    vocab_size: usize,
    /// The token of each row, if any was sampled; empty otherwise.
    tokens: Vec<Option<u32>>,
}

impl Logits {
    /// Wraps `[rows, vocab_size]` row-major values. A trailing partial row is dropped.
    pub fn new(values: Vec<f32>, vocab_size: usize) -> Self {
        Self::sampled(Vec::new(), values, vocab_size)
    }

    /// Wraps the token of a [`SampleRequest`].
    pub fn from_token(token: u32, vocab_size: usize) -> Self {
        Self::sampled(vec![Some(token)], Vec::new(), vocab_size)
    }

    /// Wraps the sampled token of each row, and the logits of those without one. A trailing partial
    /// row is dropped.
    pub fn sampled(tokens: Vec<Option<u32>>, mut values: Vec<f32>, vocab_size: usize) -> Self {
        let rows = values.len().checked_div(vocab_size).unwrap_or(0);
        values.truncate(rows * vocab_size);
        let any = tokens.iter().any(Option::is_some);
        Self {
            values,
            vocab_size,
            tokens: if any { tokens } else { Vec::new() },
        }
    }

    /// Returns the token sampled at the last row; `None` if its logits are there instead.
    pub fn token(&self) -> Option<u32> {
        self.tokens.last().copied().flatten()
    }

    /// Returns the token sampled at row `row` of [`LogitRows::count`]; `None` if its logits are
    /// there instead.
    pub fn token_of(&self, row: usize) -> Option<u32> {
        self.tokens.get(row).copied().flatten()
    }

    /// Returns the logits of row `row` of [`LogitRows::count`], which a sampler edits in place;
    /// `None` if a token was sampled.
    pub fn logits_of(&mut self, row: usize) -> Option<&mut [f32]> {
        let index = if self.tokens.is_empty() {
            row
        } else {
            let before = self.tokens.get(..=row)?;
            if before.last().copied().flatten().is_some() {
                return None;
            }
            before.iter().filter(|token| token.is_none()).count() - 1
        };
        let mut rows = self.values.chunks_exact_mut(self.vocab_size.max(1));
        rows.nth(index)
    }

    /// Returns the number of rows of logits.
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.vocab_size).unwrap_or(0)
    }

    /// Returns row `index`, `[vocab_size]`.
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        self.values.chunks_exact(self.vocab_size.max(1)).nth(index)
    }

    /// Returns the last row, which a sampler edits in place.
    pub fn last_mut(&mut self) -> Option<&mut [f32]> {
        self.values.chunks_exact_mut(self.vocab_size.max(1)).last()
    }

    /// Returns all values, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns all values, row-major, without a copy.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// Returns the length of a row.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }
}

/// A model that owns its weights and the storage of its key/value cache.
///
/// The logits of a token depend only on its sequence and on the [`TokenKind`] of each token of it
/// (batch invariance): the bits are the same if the sequence runs alone, in a batch, or with another
/// chunking of its prompt. On the CPU they do not depend on the kinds either. On a GPU, a token has
/// other bits as [`TokenKind::Prompt`] than as [`TokenKind::Generated`], because sums are in another
/// order. Generated tokens that are computed again as a prompt, after their cache entries were
/// evicted, may therefore differ in rounding.
pub trait LanguageModel: Send {
    /// Returns the sizes of the network.
    fn config(&self) -> &MossConfig;

    /// Returns the size of the KV cache. The caller allocates its blocks.
    fn cache_shape(&self) -> CacheShape;

    /// Runs every chunk, writes its keys and values into the cache, and returns one [`Logits`] per
    /// chunk, in order. Chunks of both kinds may be mixed in any order. A sequence has at most one
    /// chunk in a batch, because generated tokens are computed first.
    ///
    /// `interrupted` is polled between layers. If it returns true, the result is
    /// [`ModelError::Interrupted`], and cache entries of this batch are undefined.
    ///
    /// # Errors
    /// [`ModelError::WindowFull`] beyond the context length, [`ModelError::BlocksMissing`] for a block
    /// table that is too short, [`ModelError::UnknownToken`] for an id outside of the vocabulary,
    /// [`ModelError::NonFinite`] if a layer's output is inf or NaN.
    fn forward(
        &mut self,
        batch: &[SequenceChunk<'_>],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Vec<Logits>, ModelError>;

    /// Returns the bytes of weights that one decoded token reads.
    fn weight_bytes_per_token(&self) -> u64;

    /// Returns the bytes of keys and values per position, over all layers.
    fn cache_bytes_per_position(&self) -> u64;

    /// Returns the number of prompt tokens that one forward pass should process to be bound by
    /// arithmetic instead of memory bandwidth, and to use all stages. More are not more efficient.
    fn prefill_chunk(&self) -> usize {
        256
    }

    /// Returns the number of prompt tokens that take about as long as one: fewer would waste time.
    fn prefill_tile(&self) -> usize {
        1
    }

    /// Returns the number of generated tokens of a forward pass up to which it is efficient.
    fn decode_rows(&self) -> usize {
        MAX_DECODE_ROWS
    }

    /// Returns the form of cache blocks as bytes; `None` if they cannot be read and written.
    fn block_format(&self) -> Option<BlockFormat> {
        None
    }

    /// Appends the keys and values of a cache block, [`BlockFormat::bytes`], to `out`.
    ///
    /// # Errors
    /// [`ModelError::BlocksNotStored`] without a [`LanguageModel::block_format`];
    /// [`ModelError::Kernel`] for a block past the cache, or an error of a copy.
    fn read_block(&mut self, _block: u32, _out: &mut Vec<u8>) -> Result<(), ModelError> {
        Err(ModelError::BlocksNotStored)
    }

    /// Replaces a cache block by what [`LanguageModel::read_block`] appended, in this process or in
    /// another one with the same [`LanguageModel::block_format`] and the same weights.
    ///
    /// # Errors
    /// As for [`LanguageModel::read_block`], and for another number of bytes.
    fn write_block(&mut self, _block: u32, _bytes: &[u8]) -> Result<(), ModelError> {
        Err(ModelError::BlocksNotStored)
    }

    /// Returns true if a part of the model runs on a CPU, where a forward pass takes much longer.
    fn runs_on_cpu(&self) -> bool {
        true
    }

    /// Returns true if keys and values are in the blocks of [`BlockTable`], so that tables can share
    /// the blocks of a common prefix.
    fn shares_blocks(&self) -> bool {
        true
    }
}
