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

    /// Returns the bytes of a block: its keys, then its values, with the padding of the heads.
    pub fn block_bytes(&self) -> usize {
        2 * self.block_len() * size_of::<f16>()
    }

    /// Appends the keys and then the values of a block to `out`, in little-endian order, after all
    /// enqueued work of the stream.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for a block past the cache; as for [`Gpu::download`].
    pub fn read_block(
        &self,
        gpu: &Gpu,
        block: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), KernelError> {
        let len = self.block_len();
        let mut values = vec![f16::ZERO; len];
        for buffer in [&self.keys, &self.values] {
            gpu.download_part(buffer, self.block_start(block)?, &mut values)?;
            let at = out.len();
            out.resize(at + size_of_val(&*values), 0);
            let bytes = out[at..].chunks_exact_mut(size_of::<f16>());
            for (value, bytes) in values.iter().zip(bytes) {
                bytes.copy_from_slice(&value.to_le_bytes());
            }
        }
        Ok(())
    }

    /// Replaces a block, which is mapped, by the bytes that [`KvBlocks::read_block`] appended.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for a block past the cache or another number of bytes; as for
    /// [`Gpu::upload`].
    pub fn write_block(&self, gpu: &Gpu, block: usize, bytes: &[u8]) -> Result<(), KernelError> {
        let (found, expected) = (bytes.len(), self.block_bytes());
        let is_whole = found == expected;
        rule(
            "kv block",
            "bytes",
            found,
            is_whole,
            Rule::Exactly(expected),
        )?;
        let start = self.block_start(block)?;
        for (buffer, bytes) in [&self.keys, &self.values]
            .into_iter()
            .zip(bytes.chunks_exact((expected / 2).max(1)))
        {
            let values = bytes.chunks_exact(size_of::<f16>());
            let values = values.map(|bytes| f16::from_le_bytes([bytes[0], bytes[1]]));
            gpu.upload_part(&values.collect::<Vec<_>>(), buffer, start)?;
        }
        Ok(())
    }

    /// Returns the values of a block's keys.
    fn block_len(&self) -> usize {
        self.keys.len() / self.num_blocks.max(1)
    }

    /// Returns the index of the first value of a block.
    fn block_start(&self, block: usize) -> Result<usize, KernelError> {
        let blocks = self.num_blocks;
        rule(
            "kv block",
            "block",
            block,
            block < blocks,
            Rule::Below(blocks),
        )?;
        Ok(block * self.block_len())
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
