//! The KV cache of one layer on a GPU.

use half::f16;
use moss_weights::{KernelError, Rule};

use crate::{
    buffer::Buffer,
    contract::rule,
    device::Gpu,
    layout::{BLOCK_POSITIONS, HeadLayout, KvFormat},
};

/// The KV cache of one layer: keys and values, `[num_blocks, heads, 16, stride]` each.
///
/// In the 8-bit format, a block is `[heads, 16, stride]` integers with 128 added, then `[heads, 16]`
/// scales in f16. The buffers are in units of two bytes in both formats.
#[derive(Debug)]
pub struct KvBlocks {
    keys: Buffer<f16>,
    values: Buffer<f16>,
    pub(crate) heads: usize,
    pub(crate) stride: usize,
    pub(crate) format: KvFormat,
    num_blocks: usize,
}

impl KvBlocks {
    /// Reserves addresses for `num_blocks`, which [`KvBlocks::ensure_mapped`] maps to memory.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for a block size other than 16; [`KernelError::OutOfMemory`].
    pub fn new(
        gpu: &Gpu,
        num_blocks: usize,
        block_size: usize,
        layout: HeadLayout,
        format: KvFormat,
    ) -> Result<Self, KernelError> {
        rule(
            "kv cache",
            "block_size",
            block_size,
            block_size == BLOCK_POSITIONS,
            Rule::Exactly(BLOCK_POSITIONS),
        )?;
        let len = num_blocks * format.block_bytes(layout) / size_of::<f16>();
        Ok(Self {
            keys: gpu.reserve(len)?,
            values: gpu.reserve(len)?,
            heads: layout.num_heads,
            stride: layout.stride(),
            format,
            num_blocks,
        })
    }

    /// Maps the first `blocks` to memory.
    ///
    /// # Errors
    /// As for [`Gpu::ensure_mapped`].
    pub fn ensure_mapped(&mut self, gpu: &Gpu, blocks: usize) -> Result<(), KernelError> {
        let len = self.keys.len() / self.num_blocks.max(1) * blocks;
        gpu.ensure_mapped(&mut self.keys, len)?;
        gpu.ensure_mapped(&mut self.values, len)
    }

    /// Returns the keys.
    pub fn keys(&self) -> &Buffer<f16> {
        &self.keys
    }

    /// Returns the values.
    pub fn values(&self) -> &Buffer<f16> {
        &self.values
    }

    /// Replaces all keys and values, for tests and measurements.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for buffers of another length.
    pub fn set_contents(
        &mut self,
        keys: Buffer<f16>,
        values: Buffer<f16>,
    ) -> Result<(), KernelError> {
        let expected = self.keys.len();
        for (arg, buffer) in [("keys", &keys), ("values", &values)] {
            let found = buffer.len();
            rule(
                "kv cache",
                arg,
                found,
                found == expected,
                Rule::Exactly(expected),
            )?;
        }
        (self.keys, self.values) = (keys, values);
        Ok(())
    }

    /// Checks the format.
    pub(crate) fn expect_format(
        &self,
        op: &'static str,
        expected: KvFormat,
    ) -> Result<(), KernelError> {
        let bytes = |format| match format {
            KvFormat::F16 => 2,
            KvFormat::Int8 => 1,
        };
        rule(
            op,
            "bytes per value of the cache",
            bytes(self.format),
            self.format == expected,
            Rule::Exactly(bytes(expected)),
        )
    }

    /// Returns the number of blocks.
    pub fn num_blocks(&self) -> usize {
        self.num_blocks
    }

    /// Returns the size of the address range in bytes.
    pub fn bytes(&self) -> u64 {
        self.keys.bytes() + self.values.bytes()
    }
}
