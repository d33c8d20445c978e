//! The reference: the same network, written with candle's modules and a cache that is concatenated.
//!
//! It shares no code of the forward pass with [`crate::Moss`], and serves as a second oracle. It is
//! slower, and copies the weights: dense ones in the data type of the computation, packed ones as
//! they are. Each pass dequantizes the packed weights of one layer at a time.

mod block;
mod load;
mod weights;

use std::sync::Weak;

use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{Embedding, LayerNorm};
use moss_cpu::ops;

use self::{
    block::{Block, KeysValues},
    weights::{Linear, within},
};
use crate::{
    CacheShape, ComputeDtype, LanguageModel, LoadOptions, Logits, ModelError, MossConfig,
    SequenceChunk, decode_rows::MAX_DECODE_ROWS, hook::to_host, micro_batch::Plan,
};

/// A MOSS network of candle's modules, on one device or layer by layer over several.
#[derive(Debug)]
pub struct Reference {
    config: MossConfig,
    cache: CacheShape,
    dtype: ComputeDtype,
    embedding: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
    sequences: Vec<Sequence>,
    weight_bytes: u64,
}

/// The cache of one sequence.
#[derive(Debug)]
struct Sequence {
    /// Its block table, which the caller owns.
    table: Weak<()>,
    positions: usize,
    layers: Vec<KeysValues>,
}

impl Reference {
    /// Returns the number of positions in the caches of all sequences.
    pub fn cached_positions(&self) -> usize {
        self.sequences
            .iter()
            .map(|sequence| sequence.positions)
            .sum()
    }

    /// Adds the index of the cache of each chunk to `found`. Caches of dropped tables are freed.
    fn find_sequences(
        &mut self,
        batch: &[SequenceChunk<'_>],
        found: &mut Vec<usize>,
    ) -> Result<(), ModelError> {
        self.sequences
            .retain(|sequence| sequence.table.strong_count() > 0);
        for (index, chunk) in batch.iter().enumerate() {
            let table = chunk.blocks.lifetime();
            let mut known = self.sequences.iter();
            let known = known.position(|sequence| sequence.table.ptr_eq(&table));
            let at = known.unwrap_or(self.sequences.len());
            if known.is_none() {
                self.sequences.push(Sequence {
                    table,
                    positions: 0,
                    layers: vec![None; self.blocks.len()],
                });
            }
            let sequence = &mut self.sequences[at];
            if sequence.positions < chunk.start_pos {
                return Err(ModelError::PositionsMissing {
                    sequence: index,
                    found: sequence.positions,
                    expected: chunk.start_pos,
                });
            }
            sequence.positions = chunk.start_pos + chunk.token_ids.len();
            found.push(at);
        }
        Ok(())
    }

    /// Runs the chunks one by one through each layer: other sequences cannot change a result.
    fn run(
        &mut self,
        batch: &[SequenceChunk<'_>],
        sequences: &[usize],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Vec<Logits>, ModelError> {
        let embed = |chunk: &SequenceChunk<'_>| {
            let ids = Tensor::new(chunk.token_ids, self.embedding.embeddings().device())?;
            Ok(self.embedding.forward(&ids)?.to_dtype(DType::F32)?)
        };
        let mut hidden = within(0, "embedding", || {
            batch.iter().map(embed).collect::<Result<Vec<_>, _>>()
        })?;
        for (layer, block) in self.blocks.iter().enumerate() {
            let linears = within(layer, "block", || block.dequantized())?;
            for (index, (chunk, x)) in batch.iter().zip(&mut hidden).enumerate() {
                if interrupted() {
                    return Err(ModelError::Interrupted);
                }
                let cache = &mut self.sequences[sequences[index]].layers[layer];
                *x = within(layer, "block", || {
                    Ok(block.forward(&linears, x, chunk.start_pos, cache)?)
                })?;
                check_finite(x, layer, index, chunk.start_pos)?;
            }
        }
        let head = within(self.blocks.len(), "head", || {
            self.head.dequantized(self.norm.weight().device())
        })?;
        let with_hidden = batch.iter().zip(&hidden).enumerate();
        with_hidden
            .map(|(index, (chunk, x))| self.logits(&head, x, chunk, index))
            .collect()
    }

    fn logits(
        &self,
        head: &candle_nn::Linear,
        x: &Tensor,
        chunk: &SequenceChunk<'_>,
        index: usize,
    ) -> Result<Logits, ModelError> {
        let (layer, tokens) = (self.config.num_layers, chunk.token_ids.len());
        let rows = chunk.logits.count(tokens);
        if rows == 0 {
            return Ok(Logits::new(Vec::new(), self.config.vocab_size));
        }
        let first = tokens - rows;
        let logits = within(layer, "head", || {
            let normed = self.norm.forward(&x.narrow(0, first, rows)?)?;
            let normed = normed.to_dtype(self.dtype.candle())?;
            Ok(head.forward(&normed)?.to_dtype(DType::F32)?)
        })?;
        check_finite(&logits, layer, index, chunk.start_pos + first)?;
        let values = within(layer, "logits", || to_host(&logits))?;
        Ok(Logits::new(values, self.config.vocab_size))
    }
}

impl LanguageModel for Reference {
    fn config(&self) -> &MossConfig {
        &self.config
    }

    fn cache_shape(&self) -> CacheShape {
        self.cache
    }

    fn forward(
        &mut self,
        batch: &[SequenceChunk<'_>],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Vec<Logits>, ModelError> {
        Plan::new(&self.config, self.cache, MAX_DECODE_ROWS, batch)?; // checks the batch
        let mut sequences = Vec::with_capacity(batch.len());
        let logits = self
            .find_sequences(batch, &mut sequences)
            .and_then(|()| self.run(batch, &sequences, interrupted));
        if logits.is_err() {
            for (chunk, at) in batch.iter().zip(sequences) {
                let positions = &mut self.sequences[at].positions;
                *positions = chunk.start_pos.min(*positions);
            }
        }
        logits
    }

    fn weight_bytes_per_token(&self) -> u64 {
        self.weight_bytes
    }

    fn cache_bytes_per_position(&self) -> u64 {
        self.config.cache_bytes_per_position(self.dtype.bytes())
    }

    fn decode_rows(&self) -> usize {
        LoadOptions::CPU_ROWS
    }

    fn runs_on_cpu(&self) -> bool {
        self.blocks.iter().any(|block| block.device.is_cpu())
    }

    fn shares_blocks(&self) -> bool {
        false
    }
}

/// Returns an error for the first inf or NaN of `x`, whose first row has position `start`.
fn check_finite(x: &Tensor, layer: usize, sequence: usize, start: usize) -> Result<(), ModelError> {
    let bad = within(layer, "finite check", || {
        ops::first_non_finite(&x.to_device(&Device::Cpu)?)
    })?;
    bad.map_or(Ok(()), |bad| {
        Err(ModelError::NonFinite {
            layer,
            sequence,
            position: start + bad.row,
            value: bad.value,
        })
    })
}
