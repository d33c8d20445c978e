//! What a network weighs, part by part: the one count behind every plan.

use moss_cuda::{FEW_ROWS, PANEL_VALUES};

use crate::{
    CacheShape, ComputeDtype, MossConfig, RandomWeights, WeightFormat, WeightSource,
    micro_batch::MAX_BATCH_TOKENS, names,
};

/// What libraries and page rounding take beside the buffers that are counted here.
const MARGIN: u64 = 192 << 20;

/// Bytes of a network's parts, as a device keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelBytes {
    /// Weights of each layer.
    pub layers: Vec<u64>,
    /// The embedding. A token reads one row of it, so that it may stay in host memory.
    pub embedding: u64,
    /// Final norm and `lm_head`.
    pub head: u64,
    /// Keys and values of one position in one layer.
    pub cache_per_position: u64,
    /// Positions that the cache holds.
    pub positions: usize,
    /// Activations, scratch and libraries of one stage, with a margin.
    pub workspace: u64,
}

impl ModelBytes {
    /// Counts the tensors of `source`, with a cache of values of `dtype`.
    pub fn of(
        source: &dyn WeightSource,
        config: &MossConfig,
        cache: CacheShape,
        dtype: ComputeDtype,
    ) -> Self {
        // Scales grow from two bytes to a table's four; zero points go into the same four.
        let kept = |prefix: &str| {
            source
                .stored_bytes(prefix, false)
                .saturating_add(source.stored_bytes(prefix, true))
        };
        let embedding = source.stored_bytes(names::EMBEDDING, false);
        let bias = source.stored_bytes(&format!("{}.bias", names::LM_HEAD), false);
        let head = match kept(names::LM_HEAD) {
            // The head is the embedding, of which the last stage has a copy.
            head if head == 0 || head == bias && source.synthetic_format().is_none() => {
                head.saturating_add(embedding)
            }
            head => head,
        };
        let layout = config.block().head_layout();
        let stride = product([layout.stride(), layout.num_heads]);
        Self {
            layers: (0..config.num_layers)
                .map(|layer| kept(&names::layer_prefix(layer)))
                .collect(),
            embedding,
            head: head
                .saturating_add(source.stored_bytes(&format!("{}.", names::FINAL_NORM), false)),
            cache_per_position: stride.saturating_mul(2 * dtype.bytes() as u64),
            positions: cache.positions(),
            workspace: workspace(config).saturating_add(MARGIN),
        }
    }

    /// The same network as it would be in `format`, without any files.
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

    /// Keys and values of a layer.
    pub fn cache_per_layer(&self) -> u64 {
        self.cache_per_position
            .saturating_mul(self.positions as u64)
    }
}

/// Activations of a pass, the logits of the rows that go through the head together, and the panel.
fn workspace(config: &MossConfig) -> u64 {
    let [hidden, inner, vocab] =
        [config.hidden_size, config.inner_size, config.vocab_size].map(|n| n as u64);
    let sum = |terms: &[(u64, u64)]| {
        terms.iter().fold(0u64, |sum, (factor, size)| {
            sum.saturating_add(factor.saturating_mul(*size))
        })
    };
    let row = sum(&[
        (4 + 2 * (2 + 2), hidden),
        (2, inner),
        (2, config.block().max_out_features() as u64),
    ]);
    sum(&[
        (MAX_BATCH_TOKENS as u64, row),
        (4 * FEW_ROWS as u64, vocab),
        (2, PANEL_VALUES as u64),
    ])
}

/// Bytes or values of so many by so many; as many as can be counted where that overflows.
pub(crate) fn product<const N: usize>(extents: [usize; N]) -> u64 {
    extents.iter().fold(1, |product: u64, extent| {
        product.saturating_mul(*extent as u64)
    })
}
