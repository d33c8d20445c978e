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
/// Not `Clone`, because [`BlockPool`] counts the tables that use a block. Only the pool changes it.
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

/// The users of one block. A block without users is free.
#[derive(Debug, Clone, Copy, Default)]
struct BlockUsers {
    tables: usize,
    /// Is true if a prefix cache uses the block too.
    is_kept: bool,
}

/// The blocks of a KV cache, and the number of users of each: block tables, and a prefix cache,
/// which *keeps* blocks that no table may write again.
#[derive(Debug)]
pub struct BlockPool {
    shape: CacheShape,
    free: Vec<u32>,
    /// By block number.
    users: Vec<BlockUsers>,
    /// Kept blocks that no table uses.
    idle: usize,
}

impl BlockPool {
    /// Returns a pool in which all blocks are free. The lowest numbers are allocated first.
    pub fn new(shape: CacheShape) -> Self {
        let blocks = u32::try_from(shape.num_blocks).unwrap_or(u32::MAX);
        Self {
            shape,
            free: (0..blocks).rev().collect(),
            users: vec![BlockUsers::default(); blocks as usize],
            idle: 0,
        }
    }

    /// Returns the size of the cache.
    pub fn shape(&self) -> CacheShape {
        self.shape
    }

    /// Returns the number of blocks without users.
    pub fn free_blocks(&self) -> usize {
        self.free.len()
    }

    /// Returns the number of kept blocks that no table uses.
    pub fn idle_blocks(&self) -> usize {
        self.idle
    }

    /// Returns the number of tables that use `block`.
    pub fn tables(&self, block: u32) -> usize {
        self.users[block as usize].tables
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
        for block in taken.into_iter().rev() {
            self.users[block as usize].tables = 1;
            table.blocks.push(block);
        }
        Ok(())
    }

    /// Releases the blocks that `positions` do not need. A table that is written afterwards must
    /// not be cut within a shared block.
    pub fn truncate(&mut self, table: &mut BlockTable, positions: usize) {
        let keep = positions
            .div_ceil(self.shape.block_size)
            .min(table.blocks.len());
        for block in table.blocks.drain(keep..).rev() {
            self.remove_table(block);
        }
    }

    /// Releases all blocks of `table`.
    pub fn release(&mut self, mut table: BlockTable) {
        self.truncate(&mut table, 0);
    }

    /// Keeps `block`, which a table uses, for a prefix cache: it stays allocated when no table uses
    /// it any more.
    pub fn keep(&mut self, block: u32) {
        let users = &mut self.users[block as usize];
        debug_assert!(users.tables > 0 && !users.is_kept);
        users.is_kept = true;
    }

    /// Ends [`BlockPool::keep`]. The block is freed if no table uses it.
    pub fn forget(&mut self, block: u32) {
        let users = &mut self.users[block as usize];
        debug_assert!(users.is_kept);
        users.is_kept = false;
        if users.tables == 0 {
            self.idle -= 1;
            self.free.push(block);
        }
    }

    /// Appends a kept block to `table`, which must not write it.
    pub fn share(&mut self, table: &mut BlockTable, block: u32) {
        self.add_table(block);
        table.blocks.push(block);
    }

    /// Appends a kept block that no table uses to `table`, and ends [`BlockPool::keep`], so that the
    /// table may write it.
    pub fn take_over(&mut self, table: &mut BlockTable, block: u32) {
        debug_assert_eq!(self.tables(block), 0);
        self.share(table, block);
        self.users[block as usize].is_kept = false;
    }

    /// Replaces block `index` of `table` by a kept block with the same contents.
    pub fn replace(&mut self, table: &mut BlockTable, index: usize, block: u32) {
        self.add_table(block);
        let own = std::mem::replace(&mut table.blocks[index], block);
        self.remove_table(own);
    }

    fn add_table(&mut self, block: u32) {
        let users = &mut self.users[block as usize];
        debug_assert!(users.is_kept);
        self.idle -= usize::from(users.tables == 0);
        users.tables += 1;
    }

    fn remove_table(&mut self, block: u32) {
        let users = &mut self.users[block as usize];
        users.tables -= 1;
        match *users {
            BlockUsers { tables: 1.., .. } => {}
            BlockUsers { is_kept: true, .. } => self.idle += 1,
            BlockUsers { .. } => self.free.push(block),
        }
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

    #[test]
    fn a_kept_block_outlives_its_table_and_is_shared_until_it_is_forgotten() {
        let mut pool = BlockPool::new(CacheShape {
            block_size: 16,
            num_blocks: 3,
        });
        let (mut one, mut two) = (BlockTable::default(), BlockTable::default());
        pool.grow(&mut one, 32).unwrap();
        pool.keep(0);
        pool.share(&mut two, 0);
        pool.release(one);
        assert_eq!((pool.tables(0), pool.free_blocks()), (1, 2));
        pool.release(two);
        assert_eq!((pool.idle_blocks(), pool.free_blocks()), (1, 2));
        pool.forget(0);
        assert_eq!((pool.idle_blocks(), pool.free_blocks()), (0, 3));
    }

    #[test]
    fn a_block_that_is_taken_over_or_replaced_has_one_user() {
        let mut pool = BlockPool::new(CacheShape {
            block_size: 16,
            num_blocks: 3,
        });
        let mut table = BlockTable::default();
        pool.grow(&mut table, 16).unwrap();
        pool.keep(0);
        pool.release(table);
        let mut table = BlockTable::default();
        pool.grow(&mut table, 16).unwrap();
        pool.replace(&mut table, 0, 0);
        assert_eq!((table.blocks(), pool.free_blocks()), (&[0][..], 2));
        pool.release(table);
        let mut table = BlockTable::default();
        pool.take_over(&mut table, 0);
        assert_eq!((pool.tables(0), pool.idle_blocks()), (1, 0));
        pool.release(table);
        assert_eq!(pool.free_blocks(), 3);
    }
}
