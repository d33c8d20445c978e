//! Layers on the CPU: candle tensors, one operation at a time, with memory-mapped weights.

use std::ops::Range;

use candle_core::{Device, Tensor};
use moss_cpu::{
    KernelError, Linear,
    ops::{self, Embedding, RopeTable},
};

use crate::{
    ComputeDtype, HiddenPoint, LoadEvent, LoadOptions, ModelError, MossConfig, WeightSource,
    block::{Block, LayerNorm, Rows},
    hook::{Hook, to_host},
    micro_batch::{BatchOutput, MicroBatch},
    names,
    source::lm_head,
    stage::{RunContext, Stage, StageInput},
    stored_blocks::{StoredBlocks, in_cache, parts},
    timeline::note,
};

/// Consecutive layers with their KV cache. The first stage also has the embedding, the last the final
/// norm and lm_head.
#[derive(Debug)]
pub(crate) struct CpuStage {
    embedding: Option<Embedding>,
    rope: RopeTable,
    blocks: Vec<Block>,
    layers: Range<usize>,
    head: Option<Head>,
    dtype: ComputeDtype,
    /// Output of the last run, `[tokens, hidden]` f32.
    hidden: Option<Tensor>,
}

#[derive(Debug)]
struct Head {
    norm: LayerNorm,
    linear: Linear,
}

impl CpuStage {
    pub(crate) fn load(
        source: &dyn WeightSource,
        config: &MossConfig,
        options: &LoadOptions,
        layers: Range<usize>,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Self, ModelError> {
        let device = &Device::Cpu;
        let at_head = |op, source| ModelError::Kernel {
            layer: config.num_layers,
            op,
            source,
        };
        let (is_first, is_last) = (layers.start == 0, layers.end == config.num_layers);
        let wte = match is_first || is_last {
            true => source.matrix(names::EMBEDDING, config.vocab_size, config.hidden_size)?,
            false => None,
        };
        let wte = || wte.clone().ok_or_else(|| source.missing(names::EMBEDDING));
        let embedding = match is_first {
            true => Some(Embedding::new(wte()?).map_err(|error| at_head("embedding", error))?),
            false => None,
        };
        let head = match is_last {
            true => {
                let parts = lm_head(source, config, &wte()?)?;
                let linear = Linear::new(parts.weight, parts.bias, device);
                let linear = linear.map_err(|error| at_head("linear", error))?;
                Some(Head {
                    norm: LayerNorm::load(source, names::FINAL_NORM, config)?,
                    linear,
                })
            }
            false => None,
        };
        let rope = RopeTable::new(
            config.rotary_dim,
            config.context_length,
            options.rope_precision,
            device,
        )
        .map_err(|error| at_head("rotary table", error))?;
        let rounding = (options.dtype.candle(), options.activations);
        let cache = (options.cache, options.kv_cache);
        let mut blocks = Vec::with_capacity(layers.len());
        for layer in layers.clone() {
            let block = Block::load(source, layer, config, cache, rounding, device)?;
            progress(LoadEvent::Layer {
                bytes: block.weight_bytes(),
            });
            blocks.push(block);
        }
        Ok(Self {
            embedding,
            rope,
            blocks,
            layers,
            head,
            dtype: options.dtype,
            hidden: None,
        })
    }
}

impl StoredBlocks for CpuStage {
    fn code(&self) -> String {
        format!("CPU {}", moss_cpu::cpu_features())
    }

    fn block_bytes(&self) -> usize {
        let layers = self.blocks.iter();
        layers.map(|layer| layer.cache().block_bytes()).sum()
    }

    fn read_block(&mut self, block: usize, out: &mut Vec<u8>) -> Result<(), ModelError> {
        for (layer, weights) in self.layers.clone().zip(&self.blocks) {
            let read = weights.cache().read_block(block, out);
            read.map_err(|source| in_cache(layer, source))?;
        }
        Ok(())
    }

    fn write_block(&mut self, block: usize, bytes: &[u8]) -> Result<(), ModelError> {
        let parts = parts(bytes, self.blocks.len());
        for ((layer, weights), bytes) in self.layers.clone().zip(&self.blocks).zip(parts) {
            let written = weights.cache().write_block(block, bytes);
            written.map_err(|source| in_cache(layer, source))?;
        }
        Ok(())
    }
}

impl Stage for CpuStage {
    fn layers(&self) -> Range<usize> {
        self.layers.clone()
    }

    fn weight_bytes(&self) -> u64 {
        let head = self
            .head
            .as_ref()
            .map_or(0, |head| head.linear.weight_bytes());
        head + self.blocks.iter().map(Block::weight_bytes).sum::<u64>()
    }

    fn memory_bandwidth(&self) -> Result<f64, ModelError> {
        Ok(moss_cpu::read_bandwidth())
    }

    fn output(&mut self, _tokens: usize, _on_device: bool) -> Result<StageInput<'_>, ModelError> {
        let layer = self.layers.end;
        let hidden = self.hidden.take();
        hidden
            .map(StageInput::Host)
            .ok_or(ModelError::NoStageInput { layer })
    }

    fn run(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        input: StageInput<'_>,
        context: &mut RunContext<'_, '_, '_>,
    ) -> Result<(), ModelError> {
        let RunContext {
            interrupted,
            hook,
            span,
        } = context;
        span.iter().for_each(|[begin, _]| note(begin));
        let rows = Rows {
            positions: batch.positions(),
            slots: batch.slots(),
            sequences: &batch.sequences,
        };
        let mut x = match (&self.embedding, input) {
            (Some(embedding), StageInput::TokenIds(ids)) => {
                let x = embedding.lookup(ids, &Device::Cpu);
                let x = x.map_err(|source| ModelError::Kernel {
                    layer: 0,
                    op: "embedding",
                    source,
                })?;
                hook.show(HiddenPoint::Embedding, &x)?;
                x
            }
            (None, StageInput::Host(x)) => x,
            _ => {
                return Err(ModelError::NoStageInput {
                    layer: self.layers.start,
                });
            }
        };
        for (layer, block) in self.layers.clone().zip(&self.blocks) {
            if interrupted() {
                return Err(ModelError::Interrupted);
            }
            let _span = tracing::trace_span!("block", layer, rows = batch.len()).entered();
            x = block
                .forward(&x, &self.rope, &rows)
                .map_err(|source| ModelError::Kernel {
                    layer,
                    op: "block",
                    source,
                })?;
            check_finite(batch, &x, layer, |row| row)?;
            hook.show(HiddenPoint::Block(layer), &x)?;
        }
        self.hidden = Some(x);
        span.iter().for_each(|[_, end]| note(end));
        Ok(())
    }

    fn logits(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        output: &mut BatchOutput,
        hook: &mut Hook<'_, '_>,
    ) -> Result<(), ModelError> {
        let layer = self.layers.end;
        let (Some(head), Some(x)) = (&self.head, self.hidden.take()) else {
            return Err(ModelError::NoStageInput { layer });
        };
        let wanted = &batch.wanted;
        if wanted.is_empty() {
            return Ok(());
        }
        let run = || -> Result<(Tensor, Tensor), KernelError> {
            let index = Tensor::from_slice(wanted, wanted.len(), &Device::Cpu)?;
            let x = if wanted.len() == x.dim(0)? {
                x.clone()
            } else {
                x.index_select(&index, 0)?
            };
            let normed = head.norm.forward(&x, self.dtype.candle())?; // [wanted, hidden]
            let logits = head.linear.forward(&normed)?; // [wanted, vocab]
            Ok((normed, logits))
        };
        let (normed, logits) = run().map_err(|source| ModelError::Kernel {
            layer,
            op: "head",
            source,
        })?;
        hook.show(HiddenPoint::FinalNorm, &normed)?;
        check_finite(batch, &logits, layer, |row| {
            wanted.get(row).map_or(0, |row| *row as usize)
        })?;
        let values = to_host(&logits).map_err(|source| ModelError::Kernel {
            layer,
            op: "logits",
            source,
        })?;
        output.extend(wanted.len(), values);
        Ok(())
    }
}

/// Returns an error for the first non-finite value. `row_of` maps a row of `x` to one of the
/// micro-batch.
fn check_finite(
    batch: &MicroBatch<'_, '_>,
    x: &Tensor,
    layer: usize,
    row_of: impl Fn(usize) -> usize,
) -> Result<(), ModelError> {
    let kernel = |source| ModelError::Kernel {
        layer,
        op: "finite check",
        source,
    };
    let Some(bad) = ops::first_non_finite(x).map_err(kernel)? else {
        return Ok(());
    };
    Err(batch.non_finite(layer, row_of(bad.row), bad.value))
}
