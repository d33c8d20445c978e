//! The network on the CPU: candle tensors, one op at a time, weights read where they lie.

use candle_core::{Device, Tensor};
use moss_kernels::{
    KernelError, Linear,
    ops::{self, Embedding, RopeTable},
};

use crate::{
    ComputeDtype, HiddenPoint, LoadEvent, LoadOptions, Logits, ModelError, MossConfig, WeightSource,
    block::{Block, LayerNorm, Rows},
    names,
    plan::Plan,
    source::lm_head,
    tap::{Tap, to_host},
};

/// Weights, cache and angles.
#[derive(Debug)]
pub(crate) struct CpuNetwork {
    embedding: Embedding,
    rope: RopeTable,
    blocks: Vec<Block>,
    final_norm: LayerNorm,
    lm_head: Linear,
    vocab_size: usize,
    dtype: ComputeDtype,
}

impl CpuNetwork {
    pub(crate) fn load(
        source: &dyn WeightSource,
        config: &MossConfig,
        options: &LoadOptions,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Self, ModelError> {
        let (layers, device) = (config.num_layers, &Device::Cpu);
        progress(LoadEvent::Started { layers });
        let at_head = |op, source| ModelError::Kernel { layer: layers, op, source };

        let wte = source
            .matrix(names::EMBEDDING, config.vocab_size, config.hidden_size)?
            .ok_or_else(|| source.missing(names::EMBEDDING))?;
        let lm_head = lm_head(source, config, &wte)?;
        let lm_head =
            Linear::new(lm_head.weight, lm_head.bias, device).map_err(|error| at_head("linear", error))?;
        let embedding = Embedding::new(wte).map_err(|error| at_head("embedding", error))?;
        let rope = RopeTable::new(config.rotary_dim, config.context_length, options.rope_precision, device)
            .map_err(|error| at_head("rotary table", error))?;

        let mut bytes = lm_head.weight_bytes();
        let mut blocks = Vec::with_capacity(layers);
        for layer in 0..layers {
            let block = Block::load(source, layer, config, options.cache, options.dtype.candle(), device)?;
            bytes += block.weight_bytes();
            blocks.push(block);
            progress(LoadEvent::Layer { done: layer + 1, bytes });
        }
        let final_norm = LayerNorm::load(source, names::FINAL_NORM, config)?;
        progress(LoadEvent::Finished);
        tracing::info!(layers, weight_bytes = bytes, "model placed");
        let (vocab_size, dtype) = (config.vocab_size, options.dtype);
        Ok(Self { embedding, rope, blocks, final_norm, lm_head, vocab_size, dtype })
    }

    pub(crate) fn weight_bytes(&self) -> u64 {
        self.lm_head.weight_bytes() + self.blocks.iter().map(Block::weight_bytes).sum::<u64>()
    }

    pub(crate) fn forward(
        &mut self,
        plan: &Plan<'_>,
        interrupted: &dyn Fn() -> bool,
        tap: &mut Tap<'_, '_>,
    ) -> Result<Vec<Logits>, ModelError> {
        let sequences = plan.sequences();
        let rows = Rows { positions: &plan.positions, slots: &plan.slots, sequences: &sequences };
        let mut x = self
            .embedding
            .lookup(&plan.token_ids, &Device::Cpu)
            .map_err(|source| ModelError::Kernel { layer: 0, op: "embedding", source })?;
        tap.show(HiddenPoint::Embedding, &x)?;
        for (layer, block) in self.blocks.iter().enumerate() {
            if interrupted() {
                return Err(ModelError::Interrupted);
            }
            let _span = tracing::trace_span!("block", layer, rows = plan.positions.len()).entered();
            x = block
                .forward(&x, &self.rope, &rows, &mut |_, _| Ok(()))
                .map_err(|source| ModelError::Kernel { layer, op: "block", source })?;
            check_finite(plan, &x, layer, &plan.all_rows())?;
            tap.show(HiddenPoint::Block(layer), &x)?;
        }
        self.head(&x, plan, tap)
    }

    /// Final norm and `lm_head` over the rows that were asked for.
    fn head(&self, x: &Tensor, plan: &Plan<'_>, tap: &mut Tap<'_, '_>) -> Result<Vec<Logits>, ModelError> {
        let layer = self.blocks.len();
        let wanted = plan.logit_rows();
        if wanted.is_empty() {
            return Ok(plan.share_out(Vec::new(), self.vocab_size));
        }
        let run = || -> Result<(Tensor, Tensor), KernelError> {
            let index = Tensor::from_slice(&wanted, wanted.len(), &Device::Cpu)?;
            let x = if wanted.len() == x.dim(0)? { x.clone() } else { x.index_select(&index, 0)? };
            let normed = self.final_norm.forward(&x, self.dtype.candle())?; // [wanted, hidden]
            let logits = self.lm_head.forward(&normed)?; // [wanted, vocab]
            Ok((normed, logits))
        };
        let (normed, logits) = run().map_err(|source| ModelError::Kernel { layer, op: "head", source })?;
        tap.show(HiddenPoint::FinalNorm, &normed)?;
        check_finite(plan, &logits, layer, &wanted)?;
        let values = to_host(&logits).map_err(|source| ModelError::Kernel { layer, op: "logits", source })?;
        Ok(plan.share_out(values, self.vocab_size))
    }
}

/// `rows[i]` says which row of the pass row `i` of `x` is.
fn check_finite(plan: &Plan<'_>, x: &Tensor, layer: usize, rows: &[u32]) -> Result<(), ModelError> {
    let kernel = |source| ModelError::Kernel { layer, op: "finite check", source };
    let Some(bad) = ops::first_non_finite(x).map_err(kernel)? else { return Ok(()) };
    let row = rows.get(bad.row).map_or(0, |row| *row as usize);
    Err(plan.non_finite(layer, row, bad.value))
}
