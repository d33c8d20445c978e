//! Allocation of the paged KV cache: block pool and block tables. The model owns the storage.
//!
//! Source: PagedAttention, arXiv 2309.06180. Position `p` of a sequence is in slot `p % block_size`
//! of block `table[p / block_size]`, so that sequences of any length share one storage without
//! copies.

use std::sync::{Arc, Weak};

use crate::ModelError;

/// The size of a model's KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheShape {
    /// Positions in a block.
    pub block_size: usize,
    /// Number of blocks.
    pub num_blocks: usize,
}

impl CacheShape {
    /// The default positions per block: small enough to waste little memory, large enough for long
    /// contiguous reads.
    pub const BLOCK_SIZE: usize = 16;

    /// Returns the smallest shape for one sequence of `positions`.
    pub fn for_positions(positions: usize) -> Self {
        Self {
            block_size: Self::BLOCK_SIZE,
            num_blocks: positions.div_ceil(Self::BLOCK_SIZE),
        }
    }

    /// Returns the total number of positions.
    pub fn positions(&self) -> usize {
        self.block_size.saturating_mul(self.num_blocks)
    }
}

/// The blocks of one sequence, in the order of its positions.
///
/// Not `Clone`, because a block belongs to one table. Only [`BlockPool`] allocates and frees blocks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BlockTable {
    blocks: Vec<u32>,
    /// Identifies the sequence.
    lifetime: Arc<()>,
}

impl BlockTable {
    /// Returns the block numbers, oldest positions first.
    pub fn blocks(&self) -> &[u32] {
        &self.blocks
    }

    /// Returns a handle that identifies the sequence and expires when its table is dropped: for
    /// models that store the cache in another form.
    pub fn lifetime(&self) -> Weak<()> {
        Arc::downgrade(&self.lifetime)
    }
}

/// The free blocks of a KV cache.
#[derive(Debug)]
pub struct BlockPool {
    shape: CacheShape,
    free: Vec<u32>,
}

impl BlockPool {
    /// Returns a pool in which all blocks are free. The lowest numbers are allocated first.
    pub fn new(shape: CacheShape) -> Self {
        let free = (0..u32::try_from(shape.num_blocks).unwrap_or(u32::MAX))
            .rev()
            .collect();
        Self { shape, free }
    }

    /// Returns the size of the cache.
    pub fn shape(&self) -> CacheShape {
        self.shape
    }

    /// Returns the number of free blocks.
    pub fn free_blocks(&self) -> usize {
        self.free.len()
    }

    /// Allocates blocks so that `table` covers `positions`; allocates none if too few are free.
    ///
    /// # Errors
    /// [`ModelError::CacheFull`] if too few blocks are free.
    pub fn grow(&mut self, table: &mut BlockTable, positions: usize) -> Result<(), ModelError> {
        let missing = positions
            .div_ceil(self.shape.block_size)
            .saturating_sub(table.blocks.len());
        if missing > self.free.len() {
            return Err(ModelError::CacheFull {
                needed_blocks: missing,
                free_blocks: self.free.len(),
            });
        }
        let taken = self.free.split_off(self.free.len() - missing);
        table.blocks.extend(taken.into_iter().rev());
        Ok(())
    }

    /// Frees the blocks that `positions` do not need.
    pub fn truncate(&mut self, table: &mut BlockTable, positions: usize) {
        let keep = positions
            .div_ceil(self.shape.block_size)
            .min(table.blocks.len());
        self.free.extend(table.blocks.drain(keep..).rev());
    }

    /// Frees all blocks of `table`.
    pub fn release(&mut self, mut table: BlockTable) {
        self.truncate(&mut table, 0);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_table_grows_by_whole_blocks_and_frees_them() {
        let mut pool = BlockPool::new(CacheShape {
            block_size: 16,
            num_blocks: 4,
        });
        let mut table = BlockTable::default();
        pool.grow(&mut table, 17).unwrap();
        assert_eq!(table.blocks(), [0, 1]);
        pool.grow(&mut table, 32).unwrap();
        assert_eq!(pool.free_blocks(), 2);
        pool.truncate(&mut table, 16);
        assert_eq!((table.blocks(), pool.free_blocks()), (&[0][..], 3));
        pool.release(table);
        assert_eq!(pool.free_blocks(), 4);
    }

    #[test]
    fn two_tables_never_share_a_block() {
        let mut pool = BlockPool::new(CacheShape {
            block_size: 16,
            num_blocks: 5,
        });
        let (mut one, mut two) = (BlockTable::default(), BlockTable::default());
        pool.grow(&mut one, 20).unwrap();
        pool.grow(&mut two, 33).unwrap();
        assert!(
            one.blocks()
                .iter()
                .all(|block| !two.blocks().contains(block))
        );
    }

    #[test]
    fn a_full_cache_allocates_nothing_and_reports_the_missing_blocks() {
        let mut pool = BlockPool::new(CacheShape {
            block_size: 16,
            num_blocks: 2,
        });
        let mut table = BlockTable::default();
        let error = pool.grow(&mut table, 48).unwrap_err();
        assert!(matches!(
            error,
            ModelError::CacheFull {
                needed_blocks: 3,
                free_blocks: 2
            }
        ));
        assert_eq!((table.blocks().len(), pool.free_blocks()), (0, 2));
    }
}
