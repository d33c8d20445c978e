//! Sizes of a network's parts in bytes, the basis of every placement.

use moss_cuda::{DECODE_SPLIT, MAX_GEMV_TOKENS};

use crate::{
    CacheShape, ComputeDtype, MossConfig, RandomWeights, WeightFormat, WeightSource,
    micro_batch::MAX_BATCH_TOKENS, names, synthetic::product,
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
    /// Activations, scratch and libraries of one stage, with a margin.
    pub workspace: u64,
}

impl ModelBytes {
    /// Returns the sizes of the tensors of `source`, with a KV cache of `dtype`.
    pub fn of(
        source: &dyn WeightSource,
        config: &MossConfig,
        cache: CacheShape,
        dtype: ComputeDtype,
    ) -> Self {
        // Scale and zero point of a group take four bytes, instead of two for the stored scale.
        let stored = |prefix: &str| {
            source
                .stored_bytes(prefix, false)
                .saturating_add(source.stored_bytes(prefix, true))
        };
        let embedding = source.stored_bytes(names::EMBEDDING, false);
        let bias = source.stored_bytes(&format!("{}.bias", names::LM_HEAD), false);
        let head = match stored(names::LM_HEAD) {
            // The embedding serves as lm_head; the last stage has a copy.
            head if head == 0 || head == bias && source.synthetic_format().is_none() => {
                head.saturating_add(embedding)
            }
            head => head,
        };
        let layout = config.block().head_layout();
        let stride = product([layout.stride(), layout.num_heads]);
        Self {
            layers: (0..config.num_layers)
                .map(|layer| stored(&names::layer_prefix(layer)))
                .collect(),
            embedding,
            head: head
                .saturating_add(source.stored_bytes(&format!("{}.", names::FINAL_NORM), false)),
            cache_per_position: stride.saturating_mul(2 * dtype.bytes() as u64),
            positions: cache.positions(),
            workspace: workspace(config).saturating_add(MARGIN),
        }
    }

    /// Returns the sizes of a network in `format`.
    pub fn in_format(
        config: &MossConfig,
        format: WeightFormat,
        cache: CacheShape,
        dtype: ComputeDtype,
    ) -> Self {
        Self::of(
            &RandomWeights::new(config.clone(), format),
            config,
            cache,
            dtype,
        )
    }

    /// Returns the bytes of keys and values of a layer.
    pub fn cache_per_layer(&self) -> u64 {
        self.cache_per_position
            .saturating_mul(self.positions as u64)
    }
}

/// Returns the bytes of the activations of a micro-batch, of the logits of the tokens that pass
/// through lm_head together, and of the partial results of decode attention.
fn workspace(config: &MossConfig) -> u64 {
    let [hidden, inner, vocab] =
        [config.hidden_size, config.inner_size, config.vocab_size].map(|n| n as u64);
    let sum = |terms: &[(u64, u64)]| {
        terms.iter().fold(0u64, |sum, (factor, size)| {
            sum.saturating_add(factor.saturating_mul(*size))
        })
    };
    let row = sum(&[(4 + 2 * (2 + 2), hidden), (2, inner)]);
    let layout = config.block().head_layout();
    let splits = config.context_length.div_ceil(DECODE_SPLIT);
    let attention = product([layout.num_heads, layout.stride() + 2]).saturating_mul(splits as u64);
    sum(&[
        (MAX_BATCH_TOKENS as u64, row),
        (4 * MAX_GEMV_TOKENS as u64, vocab),
        (4 * MAX_GEMV_TOKENS as u64, attention),
    ])
}
