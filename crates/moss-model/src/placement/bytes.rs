//! Sizes of a network's parts in bytes, the basis of every placement.

use std::ops::Range;

use moss_cuda::{KvFormat, SAMPLE_ROW_BYTES, decode_scratch_bytes, linear_scratch_bytes};

use crate::{
    CacheShape, ComputeDtype, KvCacheType, MossConfig, RandomWeights, WeightFormat, WeightSource,
    decode_rows::{decode_rows, head_rows},
    micro_batch::MAX_BATCH_TOKENS,
    names,
    synthetic::product,
};

/// Memory of libraries and page rounding, in addition to the buffers counted here.
const MARGIN: u64 = 192 << 20;

/// Bytes of a network's parts in a device's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelBytes {
    /// Weights of each layer.
    pub layers: Vec<u64>,
    /// The embedding. A token reads one row, so it may stay in host memory.
    pub embedding: u64,
    /// Final norm and lm_head.
    pub head: u64,
    /// Keys and values of one position in one layer.
    pub cache_per_position: u64,
    /// Positions of the KV cache.
    pub positions: usize,
    /// Keys and values of a micro-batch on a GPU before they are rounded to 8 bits; see
    /// [`ModelBytes::with_kv_cache`].
    pub unrounded: u64,
    /// Other activations, scratch and libraries of one stage, with a margin; see
    /// [`ModelBytes::with_decode_rows`].
    pub workspace: u64,
}

impl ModelBytes {
    /// Returns the sizes of the tensors of `source`, with a KV cache of `dtype`, for one sequence per
    /// decode step.
    pub fn of(
        source: &dyn WeightSource,
        config: &MossConfig,
        cache: CacheShape,
        dtype: ComputeDtype,
    ) -> Self {
        // Scale and zero point of a group take four bytes, instead of two for the stored scale.
        let stored = |prefix: &str| sum([false, true].map(|is| source.stored_bytes(prefix, is)));
        let plain = |prefix: &str| source.stored_bytes(prefix, false);
        let embedding = plain(names::EMBEDDING);
        let bias = plain(&format!("{}.bias", names::LM_HEAD));
        let mut head = stored(names::LM_HEAD);
        if head == 0 || head == bias && source.synthetic_format().is_none() {
            // The embedding serves as lm_head; the last stage has a copy.
            head = head.saturating_add(embedding);
        }
        let layout = config.block().head_layout();
        Self {
            layers: (0..config.num_layers)
                .map(|layer| stored(&names::layer_prefix(layer)))
                .collect(),
            embedding,
            head: head.saturating_add(plain(&format!("{}.", names::FINAL_NORM))),
            cache_per_position: product([2, layout.stride(), layout.num_heads, dtype.bytes()]),
            positions: cache.positions(),
            unrounded: 0,
            workspace: workspace(config, decode_rows(1)),
        }
    }

    /// As [`ModelBytes::of`] for a network in `format`.
    pub fn in_format(
        config: &MossConfig,
        format: WeightFormat,
        cache: CacheShape,
        dtype: ComputeDtype,
    ) -> Self {
        let source = RandomWeights::new(config.clone(), format);
        Self::of(&source, config, cache, dtype)
    }

    /// Sets the type of the cache; see [`LoadOptions::kv_cache`](crate::LoadOptions).
    pub fn with_kv_cache(mut self, config: &MossConfig, kv_cache: KvCacheType) -> Self {
        if kv_cache == KvCacheType::Int8 {
            let layout = config.block().head_layout();
            let bytes =
                |format: KvFormat| product([2, layout.num_heads, format.head_bytes(layout)]);
            self.cache_per_position = bytes(KvFormat::Int8);
            self.unrounded = bytes(KvFormat::F16).saturating_mul(MAX_BATCH_TOKENS as u64);
        }
        self
    }

    /// Sets the workspace to that of [`LoadOptions::max_decode_rows`](crate::LoadOptions).
    pub fn with_decode_rows(mut self, config: &MossConfig, max_decode_rows: usize) -> Self {
        self.workspace = workspace(config, decode_rows(max_decode_rows));
        self
    }

    /// Returns the bytes of keys and values of a layer.
    pub fn cache_per_layer(&self) -> u64 {
        self.cache_per_position
            .saturating_mul(self.positions as u64)
    }

    /// Returns the memory of a stage with `layers` on a device with `free` bytes, with the embedding
    /// in host memory.
    pub(super) fn stage(&self, layers: &Range<usize>, free: u64) -> MemoryPlan {
        let is_last = layers.end == self.layers.len();
        let head = if is_last { self.head } else { 0 };
        MemoryPlan {
            weights: sum(self.layers[layers.clone()].iter().copied().chain([head])),
            embedding: 0,
            cache: self.cache_per_layer().saturating_mul(layers.len() as u64),
            workspace: self.workspace.saturating_add(self.unrounded),
            free,
        }
    }
}

/// The use of a device's memory by a stage, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryPlan {
    /// Weights of blocks, final norm and lm_head, in the kernels' layout.
    pub weights: u64,
    /// The embedding; 0 if it stays in host memory, from which a token reads one row.
    pub embedding: u64,
    /// Keys and values.
    pub cache: u64,
    /// Activations, scratch and libraries.
    pub workspace: u64,
    /// Free memory of the device.
    pub free: u64,
}

impl MemoryPlan {
    /// Returns the total bytes.
    pub fn needed(&self) -> u64 {
        sum([self.weights, self.embedding, self.cache, self.workspace])
    }

    /// Returns the bytes that a token reads with a full KV cache.
    pub(super) fn read(&self) -> u64 {
        self.weights.saturating_add(self.cache)
    }
}

/// Computes a sum, saturated at `u64::MAX`.
pub(super) fn sum(terms: impl IntoIterator<Item = u64>) -> u64 {
    terms.into_iter().fold(0, u64::saturating_add)
}

/// Returns the bytes of the activations and inputs of a micro-batch, of the rows that pass through
/// lm_head together, and of the scratch of decode attention and sampling for `rows` rows,
/// with a margin.
fn workspace(config: &MossConfig, rows: usize) -> u64 {
    let (hidden, inner) = (config.hidden_size, config.inner_size);
    let layout = config.block().head_layout();
    let max_blocks = config.context_length.div_ceil(CacheShape::BLOCK_SIZE);
    let history = product([4, config.context_length]);
    let head = product([4, config.vocab_size]).saturating_add(product([2, hidden]));
    sum([
        product([MAX_BATCH_TOKENS, 4 + 2 * (2 + 2), hidden]),
        product([MAX_BATCH_TOKENS, 2, inner]),
        product([MAX_BATCH_TOKENS, 4, 8 + max_blocks]),
        head.saturating_mul(head_rows(rows) as u64),
        decode_scratch_bytes(rows, config.context_length, layout),
        linear_scratch_bytes(rows),
        history
            .saturating_add(SAMPLE_ROW_BYTES as u64)
            .saturating_mul(rows as u64),
        MARGIN,
    ])
}
