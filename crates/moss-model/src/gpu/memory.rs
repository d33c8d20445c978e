//! What a model needs of a card, before anything is loaded.

use std::ops::Range;

use moss_kernels::cuda::{Gpu, PANEL_VALUES};

use crate::{CacheShape, MemoryPlan, ModelError, MossConfig, WeightSource, names, plan::MAX_ROWS};

/// What libraries and page rounding take beside the buffers that are counted here.
const MARGIN: u64 = 192 << 20;

/// The plan; an embedding of 0 bytes stays in host memory, which a row a token can afford.
pub(super) fn plan(
    source: &dyn WeightSource,
    config: &MossConfig,
    cache: CacheShape,
    layers: Range<usize>,
    gpu: &Gpu,
) -> Result<MemoryPlan, ModelError> {
    // Scales grow from two bytes to a table's four; zero points go into the same four.
    let on_card = |prefix: &str| source.stored_bytes(prefix, false) + source.stored_bytes(prefix, true);
    let weights: u64 = layers.clone().map(|layer| on_card(&names::layer_prefix(layer))).sum();
    let embedding = source.stored_bytes(names::EMBEDDING, false);
    let head = on_card(names::LM_HEAD);
    let head = if head == 0 { embedding } else { head };
    let (is_first, is_last) = (layers.start == 0, layers.end == config.num_layers);
    let stride = config.head_dim.next_multiple_of(8) * config.num_heads;
    let plan = MemoryPlan {
        weights: weights + if is_last { head } else { 0 },
        embedding: if is_first { embedding } else { 0 },
        cache: (layers.len() * 2 * stride * 2 * cache.positions()) as u64,
        workspace: workspace_bytes(config) + MARGIN,
        free: gpu.free_memory().map_err(ModelError::Gpu)?,
    };
    if plan.needed() <= plan.free {
        return Ok(plan);
    }
    let plan = MemoryPlan { embedding: 0, ..plan };
    if plan.needed() <= plan.free {
        return Ok(plan);
    }
    Err(ModelError::DoesNotFit { gpu: gpu.info().ordinal, plan })
}

/// Activations of a pass, the logits of the rows that go through the head together, and the panel.
fn workspace_bytes(config: &MossConfig) -> u64 {
    let MossConfig { hidden_size, inner_size, vocab_size, .. } = *config;
    let row = 4 * hidden_size
        + 2 * (2 * hidden_size + 2 * hidden_size + inner_size)
        + 2 * inner_size.max(3 * hidden_size);
    (MAX_ROWS * row + 4 * super::FEW_ROWS * vocab_size + 2 * PANEL_VALUES) as u64
}
