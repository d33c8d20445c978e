//! Cache blocks as bytes, to store them outside of the cache.

use moss_cpu::{Activations, KernelError, ops::RopePrecision};

use crate::{ComputeDtype, KvCacheType, ModelError};

/// The form of a model's cache blocks as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockFormat {
    /// Bytes of a block: keys and values of its positions in all layers.
    pub bytes: usize,
    /// Everything that determines the bits of a block, except the weights and the token ids of its
    /// sequence:
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

/// The rounding of the values from which the cache is computed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounding {
    pub(crate) dtype: ComputeDtype,
    pub(crate) activations: Activations,
    pub(crate) rope: RopePrecision,
    pub(crate) kv_cache: KvCacheType,
}
