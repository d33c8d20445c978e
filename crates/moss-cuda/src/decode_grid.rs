//! Thread blocks and scratch memory of decode attention.

use crate::layout::{DECODE_SPLIT, HeadLayout};

/// Maximum number of splits of a thread block, `MAX_SPLITS` in `kernels/attention_decode.cu`.
const MAX_BLOCK_SPLITS: usize = 64;

/// Heads of all sequences from which each has one thread block. Fewer heads share as many blocks.
/// Of 384, 768 and 1536 this is the fastest for 1 to 64 sequences of MOSS on an H200.
const FULL_GRID: usize = 768;

/// Minimum number of thread blocks per head of a smaller grid: a context of 2048 among short ones
/// takes 63 instead of 139 us in 32 sequences.
const FEWEST_BLOCKS: usize = 4;

/// Minimum number of splits of a thread block, if half of a grid has one block per head. A block
/// that computes all splits of a head writes no partial results.
const HALF_GRID_SPLITS: usize = 16;

/// The thread blocks of each head, and the splits of a block. No result depends on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecodeGrid {
    /// Maximum number of thread blocks per head.
    pub(crate) blocks: usize,
    /// Minimum number of splits of a thread block, if the head has so many.
    pub(crate) least_splits: usize,
}

impl DecodeGrid {
    /// Returns the grid for `sequences` of up to `positions`. A CUDA graph captures the grid, so it
    /// depends on the maximum context, not on the contexts.
    pub(crate) fn new(sequences: usize, positions: usize, num_heads: usize) -> Self {
        let splits = splits(positions);
        let heads = sequences.saturating_mul(num_heads).max(1);
        let blocks = if heads < FULL_GRID {
            FEWEST_BLOCKS.max(FULL_GRID / heads)
        } else {
            1
        };
        let least_splits = if heads < FULL_GRID / 2 {
            1
        } else {
            HALF_GRID_SPLITS
        };
        Self {
            blocks: blocks.clamp(splits.div_ceil(MAX_BLOCK_SPLITS), splits),
            least_splits,
        }
    }
}

/// Sizes of the scratch memory of decode attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecodeScratchSize {
    /// Values of the partial results.
    pub(crate) parts: usize,
    /// Counters of finished thread blocks.
    pub(crate) tickets: usize,
}

impl DecodeScratchSize {
    /// Returns the sizes for exactly `sequences` of up to `positions`.
    pub(crate) fn exact(sequences: usize, positions: usize, layout: HeadLayout) -> Self {
        let heads = sequences.saturating_mul(layout.num_heads);
        if DecodeGrid::new(sequences, positions, layout.num_heads).blocks == 1 {
            return Self {
                parts: 0,
                tickets: 0,
            };
        }
        Self {
            parts: heads
                .saturating_mul(splits(positions))
                .saturating_mul(layout.stride().saturating_add(2)),
            tickets: heads,
        }
    }

    /// Returns the sizes for any number of sequences up to `sequences`.
    pub(crate) fn up_to(sequences: usize, positions: usize, layout: HeadLayout) -> Self {
        (1..=sequences)
            .map(|n| Self::exact(n, positions, layout))
            .max_by_key(|size| size.parts)
            .unwrap_or(Self {
                parts: 0,
                tickets: 0,
            })
    }
}

/// Returns the bytes of `DecodeScratch` for up to `sequences` of up to `positions`.
pub fn decode_scratch_bytes(sequences: usize, positions: usize, layout: HeadLayout) -> u64 {
    let size = DecodeScratchSize::up_to(sequences, positions, layout);
    (size.parts as u64)
        .saturating_add(size.tickets as u64)
        .saturating_mul(4)
}

fn splits(positions: usize) -> usize {
    positions.div_ceil(DECODE_SPLIT).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOSS: HeadLayout = HeadLayout {
        num_heads: 24,
        head_dim: 256,
        shards: 4,
    };

    fn grid(sequences: usize) -> (usize, usize) {
        let grid = DecodeGrid::new(sequences, 2048, MOSS.num_heads);
        (grid.blocks, grid.least_splits)
    }

    #[test]
    fn few_heads_share_the_blocks_of_a_full_grid() {
        assert_eq!(
            [1, 2, 8, 15, 16, 31, 32, 256].map(grid),
            [
                (32, 1),
                (16, 1),
                (4, 1),
                (4, 1),
                (4, 16),
                (4, 16),
                (1, 16),
                (1, 16),
            ]
        );
    }

    #[test]
    fn blocks_have_room_for_the_splits_of_the_longest_context() {
        for positions in [1, 16, 33, 2048, 2049, 100_000] {
            for sequences in [1, 7, 32, 256] {
                let DecodeGrid {
                    blocks,
                    least_splits,
                } = DecodeGrid::new(sequences, positions, 24);
                let splits = splits(positions);
                assert!(blocks <= splits && blocks * MAX_BLOCK_SPLITS >= splits);
                assert!((1..=MAX_BLOCK_SPLITS).contains(&least_splits));
            }
        }
    }

    #[test]
    fn scratch_is_bounded_by_the_sequences_that_share_a_grid() {
        let bytes = |sequences| decode_scratch_bytes(sequences, 2048, MOSS);
        assert_eq!(bytes(0), 0);
        assert_eq!(bytes(1), 24 * 4 * (64 * 258 + 1));
        assert_eq!(bytes(31), 31 * bytes(1));
        assert_eq!(bytes(256), bytes(31));
    }
}
