//! Sizes of a network's parts in bytes, the basis of every placement.

use moss_cuda::{KvFormat, SAMPLE_ROW_BYTES, decode_scratch_bytes, linear_scratch_bytes};

use crate::{
    CacheShape, KvCacheType, LoadOptions, MossConfig, RandomWeights, WeightFormat, WeightSource,
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
    /// [`LoadOptions::kv_cache`].
    pub unrounded: u64,
    /// Other activations, scratch and libraries of one stage, with a margin; see
    /// [`ModelBytes::with_decode_rows`].
    pub workspace: u64,
}

impl ModelBytes {
    /// Returns the sizes of the tensors of `source`, and of the KV cache and buffers of `options`.
    pub fn of(source: &dyn WeightSource, config: &MossConfig, options: &LoadOptions) -> Self {
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
        let position = |head_bytes| product([2, layout.num_heads, head_bytes]);
        let (cache_per_position, unrounded) = match options.kv_cache {
            KvCacheType::Native => {
                let head_bytes = layout.stride().saturating_mul(options.dtype.bytes());
                (position(head_bytes), 0)
            }
            KvCacheType::Int8 => {
                let [int8, f16] = [KvFormat::Int8, KvFormat::F16]
                    .map(|format| position(format.head_bytes(layout)));
                (int8, f16.saturating_mul(MAX_BATCH_TOKENS as u64))
            }
        };
        Self {
            layers: (0..config.num_layers)
                .map(|layer| stored(&names::layer_prefix(layer)))
                .collect(),
            embedding,
            head: head.saturating_add(plain(&format!("{}.", names::FINAL_NORM))),
            cache_per_position,
            positions: options.cache.positions(),
            unrounded,
            workspace: workspace(config, options.decode_rows()),
        }
    }

    /// As [`ModelBytes::of`] for a network in `format`.
    pub fn in_format(config: &MossConfig, format: WeightFormat, options: &LoadOptions) -> Self {
        Self::of(&RandomWeights::new(config.clone(), format), config, options)
    }

    /// Sets the workspace to that of [`LoadOptions::max_decode_rows`].
    pub fn with_decode_rows(mut self, config: &MossConfig, max_decode_rows: usize) -> Self {
        self.workspace = workspace(config, decode_rows(max_decode_rows));
        self
    }

    /// Sets the size of the KV cache.
    pub(super) fn with_blocks(&self, blocks: usize) -> Self {
        let mut sized = self.clone();
        sized.positions = blocks * CacheShape::BLOCK_SIZE;
        sized
    }

    /// Returns the bytes of keys and values of a layer.
    pub fn cache_per_layer(&self) -> u64 {
        self.cache_per_position
            .saturating_mul(self.positions as u64)
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
