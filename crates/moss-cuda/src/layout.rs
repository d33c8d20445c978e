//! Sizes that the kernels fix, and the layout of attention heads in device memory.

/// Inputs of a block of a weight.
pub const BLOCK: usize = 64;

/// Outputs of a tile of a weight, which one thread block computes.
pub const TILE: usize = 16;

/// Slices of the inputs, whose sums the decode kernels add as a tree.
#[cfg(feature = "cuda")]
pub(crate) const SLICES: usize = 8;

/// Positions of a block of the KV cache.
pub const BLOCK_POSITIONS: usize = 16;

/// Positions of a split, of which decode attention computes one partial result.
pub const DECODE_SPLIT: usize = 32;

/// Maximum number of tokens of the decode kernels.
pub const MAX_DECODE_TOKENS: usize = 256;

/// Number of tokens up to which the decode kernels of every GPU are the same.
pub(crate) const FEW_DECODE_TOKENS: usize = 16;

/// Returns the bytes of `LinearScratch` for `max_tokens` tokens on a GPU with at most 144
/// multiprocessors, without its tickets, which are a few kilobytes. Only GPUs of sm_90 have it.
pub const fn linear_scratch_bytes(max_tokens: usize) -> u64 {
    if max_tokens <= FEW_DECODE_TOKENS {
        return 0;
    }
    const PART: u64 = 64 * 64 * 4; // outputs, tokens and bytes of a warpgroup
    144 * 2 * 8 * PART
}

/// Bytes of the buffers of sampling per row, in addition to four per id of the history.
pub const SAMPLE_ROW_BYTES: usize = 4172;

/// The cache slot of a token whose keys and values are not stored, for the decode kernels.
pub const NO_SLOT: u32 = u32::MAX;

/// Sizes of the heads.
#[derive(Debug, Clone, Copy)]
pub struct HeadLayout {
    /// Heads of a layer.
    pub num_heads: usize,
    /// Values of a head.
    pub head_dim: usize,
    /// Shards of qkv_proj's outputs, [query | value | key] each.
    pub shards: usize,
}

impl HeadLayout {
    /// Returns the distance of two heads in queries and cache: `head_dim`, padded to 16 bytes.
    pub const fn stride(&self) -> usize {
        match self.head_dim.checked_next_multiple_of(8) {
            Some(stride) => stride,
            None => usize::MAX,
        }
    }
}

/// The format of keys and values in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvFormat {
    /// f16.
    #[default]
    F16,
    /// 8-bit integers with one f16 scale per position and head.
    Int8,
}

impl KvFormat {
    /// Returns the bytes of the keys, or of the values, of a position and head.
    pub const fn head_bytes(self, layout: HeadLayout) -> usize {
        let stride = layout.stride();
        match self {
            Self::F16 => stride.saturating_mul(2),
            Self::Int8 => stride.saturating_add(2),
        }
    }

    /// Returns the bytes of the keys, or of the values, of a block.
    pub const fn block_bytes(self, layout: HeadLayout) -> usize {
        self.head_bytes(layout) * layout.num_heads * BLOCK_POSITIONS
    }
}
