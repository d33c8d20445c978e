//! One block by itself, on the CPU: for those who work through a network layer by layer and never hold it whole.

use candle_core::{DType, Device, Tensor};
use moss_kernels::{
    Activations, KernelError,
    ops::{Embedding, RopePrecision, RopeTable, SequenceRows},
};

use crate::{
    CacheShape, LinearKind, ModelError, MossConfig, WeightSource,
    block::{Block, Rows},
    names,
    tap::to_host,
};

/// Layer `layer` of a network, which runs sequences one after the other, in f32.
#[derive(Debug)]
pub struct Layer {
    layer: usize,
    hidden_size: usize,
    block: Block,
    rope: RopeTable,
    cache: CacheShape,
}

/// The hidden states that enter layer 0, `[ids, hidden_size]` row-major.
///
/// # Errors
/// [`ModelError::Checkpoint`] for a missing or misshapen embedding; [`ModelError::Kernel`] for an id without a row.
pub fn embed(source: &dyn WeightSource, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
    let config = source.config()?;
    let table = source
        .matrix(names::EMBEDDING, config.vocab_size, config.hidden_size)?
        .ok_or_else(|| source.missing(names::EMBEDDING))?;
    let run = || to_host(&Embedding::new(table)?.lookup(ids, &Device::Cpu)?);
    run().map_err(|source| ModelError::Kernel { layer: 0, op: "embedding", source })
}

impl Layer {
    /// Places the weights of one layer, with a cache for sequences of up to `positions`.
    ///
    /// # Errors
    /// As for [`crate::Moss::load`].
    pub fn load(
        source: &dyn WeightSource,
        config: &MossConfig,
        layer: usize,
        positions: usize,
    ) -> Result<Self, ModelError> {
        let cache = CacheShape::for_positions(positions);
        let rope = RopeTable::new(config.rotary_dim, positions, RopePrecision::F32, &Device::Cpu)
            .map_err(|source| ModelError::Kernel { layer, op: "rotary table", source })?;
        let rounding = (DType::F32, Activations::Exact);
        let block = Block::load(source, layer, config, cache, rounding, &Device::Cpu)?;
        Ok(Self { layer, hidden_size: config.hidden_size, block, rope, cache })
    }

    /// Runs a sequence from `start_pos` on: hidden states `[rows, hidden_size]` in and out, row-major. What stands before is what earlier calls
    /// left at those positions. `see` is shown the input `[rows, in_features]` of each linear layer.
    ///
    /// # Errors
    /// [`ModelError::WindowFull`] past the positions that [`Self::load`] was told of; [`ModelError::Kernel`] for values that are not whole rows.
    pub fn forward(
        &self,
        hidden: Vec<f32>,
        start_pos: usize,
        see: &mut dyn FnMut(LinearKind, &[f32]),
    ) -> Result<Vec<f32>, ModelError> {
        let num_rows = hidden.len() / self.hidden_size;
        let end = start_pos + num_rows;
        if end > self.cache.positions() {
            return Err(ModelError::WindowFull { end, context_length: self.cache.positions() });
        }
        let blocks: Vec<u32> = (0..self.cache.num_blocks as u32).collect();
        let positions: Vec<u32> = (start_pos as u32..end as u32).collect(); // slots too: the blocks are in order
        let sequences = [SequenceRows { first_row: 0, num_rows, start_pos, blocks: &blocks }];
        let rows = Rows { positions: &positions, slots: &positions, sequences: &sequences };
        let run = || -> Result<Vec<f32>, KernelError> {
            let x = Tensor::from_vec(hidden, (num_rows, self.hidden_size), &Device::Cpu)?;
            let mut show = |kind, x: &Tensor| {
                see(kind, &to_host(x)?);
                Ok(())
            };
            to_host(&self.block.forward(&x, &self.rope, &rows, &mut show)?)
        };
        run().map_err(|source| ModelError::Kernel { layer: self.layer, op: "block", source })
    }
}
