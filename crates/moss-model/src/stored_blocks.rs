//! Cache blocks as bytes, to store them outside of the cache.

use moss_cpu::{Activations, KernelError, ops::RopePrecision};

use crate::{ComputeDtype, LoadOptions, ModelError, pipeline::Pipeline};

/// A digest of the code that computes the cache, made by the build script.
const CODE: &str = env!("MOSS_MODEL_CODE");

/// The form of a model's cache blocks as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockFormat {
    /// Bytes of a block: keys and values of its positions in all layers.
    pub bytes: usize,
    /// What determines the bits of a block, besides the weights and the token ids of its sequence:
    /// code, instruction set, data types, and the layers of each kind of device. Blocks of another
    /// process may be used if it is the same. It does not depend on threads, on the size of the
    /// cache, or on a division of the layers among equal devices.
    pub description: String,
}

/// The cache blocks of a stage as bytes.
pub(crate) trait StoredBlocks {
    /// Describes the code that computes on the device, and the form of a block.
    fn code(&self) -> String;

    /// Returns the bytes of a block, over all layers of the stage.
    fn block_bytes(&self) -> usize;

    /// Appends a block to `out`, layer by layer. Waits for the device.
    fn read_block(&mut self, block: usize, out: &mut Vec<u8>) -> Result<(), ModelError>;

    /// Replaces a block by what [`StoredBlocks::read_block`] appended.
    fn write_block(&mut self, block: usize, bytes: &[u8]) -> Result<(), ModelError>;
}

/// Divides the bytes of a stage among its layers, which have blocks of one size. If they do not
/// divide evenly, the last layer gets another number of bytes, which is an error there.
pub(crate) fn parts(bytes: &[u8], layers: usize) -> impl Iterator<Item = &[u8]> {
    let each = bytes.len() / layers.max(1);
    (0..layers).map(move |layer| {
        let end = if layer + 1 == layers {
            bytes.len()
        } else {
            (layer + 1) * each
        };
        &bytes[layer * each..end]
    })
}

/// Adds the layer to an error of a block's copy.
pub(crate) fn in_cache(layer: usize, source: KernelError) -> ModelError {
    ModelError::Kernel {
        layer,
        op: "kv cache",
        source,
    }
}

/// The rounding of values on their way to the cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounding {
    dtype: ComputeDtype,
    activations: Activations,
    rope: RopePrecision,
}

impl From<&LoadOptions> for Rounding {
    fn from(options: &LoadOptions) -> Self {
        Self {
            dtype: options.dtype,
            activations: options.activations,
            rope: options.rope_precision,
        }
    }
}

impl Pipeline {
    /// Returns the form of a cache block of `positions`.
    pub(crate) fn block_format(&self, positions: usize, rounding: Rounding) -> BlockFormat {
        let Rounding {
            dtype,
            activations,
            rope,
        } = rounding;
        let mut description = format!(
            "code {CODE}, {positions} positions, {dtype:?}, activations {activations:?}, rope {rope:?}"
        );
        let codes = self
            .stages
            .iter()
            .map(|(_, stage)| (stage.layers(), stage.code()));
        let mut codes = codes.peekable();
        while let Some((mut layers, code)) = codes.next() {
            while let Some((next, _)) = codes.next_if(|(_, next)| *next == code) {
                layers.end = next.end;
            }
            description += &format!(", layers {} to {}: {code}", layers.start, layers.end);
        }
        let bytes = self.stages.iter().map(|(_, stage)| stage.block_bytes());
        BlockFormat {
            bytes: bytes.sum(),
            description,
        }
    }

    /// Appends a block of all stages to `out`.
    pub(crate) fn read_block(&mut self, block: u32, out: &mut Vec<u8>) -> Result<(), ModelError> {
        for index in 0..self.stages.len() {
            let read = self.stages[index].1.read_block(block as usize, out);
            read.map_err(|error| self.with_stage_context(index, error))?;
        }
        Ok(())
    }

    /// Replaces a block in all stages. Too few bytes are an error of the stage that lacks them.
    pub(crate) fn write_block(&mut self, block: u32, mut bytes: &[u8]) -> Result<(), ModelError> {
        let last = self.stages.len() - 1;
        for index in 0..self.stages.len() {
            let stage = &mut self.stages[index].1;
            let own = if index == last {
                bytes
            } else {
                let (own, rest) = bytes.split_at(stage.block_bytes().min(bytes.len()));
                bytes = rest;
                own
            };
            let written = stage.write_block(block as usize, own);
            written.map_err(|error| self.with_stage_context(index, error))?;
        }
        Ok(())
    }
}
