//! Prefix reuse: the KV cache blocks of running sequences and of idle sessions.
//!
//! Only bookkeeping over [`BlockPool`]; the model owns the storage. An idle session keeps its
//! blocks until a running sequence needs them. Then the least recently used session is evicted, and
//! its next turn prefills the whole prompt.

use std::collections::HashMap;

use moss_model::{BlockPool, BlockTable, CacheShape, ModelError};

/// The cache blocks of an idle session.
#[derive(Debug)]
struct Idle {
    /// The ids whose keys and values are in `table`.
    ids: Vec<u32>,
    table: BlockTable,
    /// [`SharedCache::clock`] of its last use.
    last_use: u64,
}

/// The block pool, and the blocks of idle sessions.
#[derive(Debug)]
pub(crate) struct SharedCache {
    pool: BlockPool,
    /// By session id. Each has at least one block, so the number of blocks bounds their number.
    idle: HashMap<u64, Idle>,
    clock: u64,
}

impl SharedCache {
    pub(crate) fn new(shape: CacheShape) -> Self {
        Self {
            pool: BlockPool::new(shape),
            idle: HashMap::new(),
            clock: 0,
        }
    }

    pub(crate) fn shape(&self) -> CacheShape {
        self.pool.shape()
    }

    /// Returns the blocks of running sequences and idle sessions.
    pub(crate) fn used_blocks(&self) -> usize {
        self.shape().num_blocks - self.pool.free_blocks()
    }

    /// Returns the blocks of a session that a prompt can reuse, and the number of positions: those
    /// of the longest common prefix, without the prompt's last token, whose logits are needed. The
    /// other blocks are freed.
    pub(crate) fn resume(&mut self, session: Option<u64>, prompt: &[u32]) -> (BlockTable, usize) {
        let Some(mut idle) = session.and_then(|id| self.idle.remove(&id)) else {
            return (BlockTable::default(), 0);
        };
        let shared = idle
            .ids
            .iter()
            .zip(prompt)
            .take_while(|(a, b)| a == b)
            .count();
        let cached = shared.min(prompt.len().saturating_sub(1));
        self.pool.truncate(&mut idle.table, cached);
        (idle.table, cached)
    }

    /// Allocates blocks for `positions` in `table`, and evicts idle sessions if necessary.
    ///
    /// # Errors
    /// [`ModelError::CacheFull`] if running sequences use too many blocks.
    pub(crate) fn grow(
        &mut self,
        table: &mut BlockTable,
        positions: usize,
    ) -> Result<(), ModelError> {
        loop {
            let Err(full) = self.pool.grow(table, positions) else {
                return Ok(());
            };
            let oldest = self
                .idle
                .iter()
                .min_by_key(|(_, idle)| idle.last_use)
                .map(|(session, _)| *session);
            let Some(session) = oldest else {
                return Err(full);
            };
            tracing::debug!(session, "idle session evicted from the cache");
            self.forget(session);
        }
    }

    /// Keeps the blocks of an ended sequence for its session. `ids` are the tokens whose keys and
    /// values were written.
    pub(crate) fn keep(&mut self, session: u64, ids: Vec<u32>, mut table: BlockTable) {
        self.forget(session); // another sequence of the same session may have ended before
        self.pool.truncate(&mut table, ids.len());
        if !table.blocks().is_empty() {
            self.clock += 1;
            self.idle.insert(
                session,
                Idle {
                    ids,
                    table,
                    last_use: self.clock,
                },
            );
        }
    }

    pub(crate) fn release(&mut self, table: BlockTable) {
        self.pool.release(table);
    }

    /// Frees the blocks of a session.
    pub(crate) fn forget(&mut self, session: u64) {
        if let Some(idle) = self.idle.remove(&session) {
            self.pool.release(idle.table);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHAPE: CacheShape = CacheShape {
        block_size: 4,
        num_blocks: 8,
    };

    /// Adds an idle session with these ids.
    fn add_idle(cache: &mut SharedCache, session: u64, ids: &[u32]) {
        let mut table = BlockTable::default();
        cache.grow(&mut table, ids.len()).unwrap();
        cache.keep(session, ids.to_vec(), table);
    }

    #[test]
    fn the_longest_common_prefix_is_kept_and_the_other_blocks_are_freed() {
        let mut cache = SharedCache::new(SHAPE);
        add_idle(&mut cache, 1, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(cache.used_blocks(), 3);
        let (table, cached) = cache.resume(Some(1), &[1, 2, 3, 4, 5, 60, 70]);
        assert_eq!(
            (cached, table.blocks().len(), cache.used_blocks()),
            (5, 2, 2)
        );
    }

    #[test]
    fn the_last_token_of_a_prompt_is_never_reused() {
        let mut cache = SharedCache::new(SHAPE);
        add_idle(&mut cache, 1, &[1, 2, 3, 4, 5]);
        assert_eq!(cache.resume(Some(1), &[1, 2, 3, 4, 5]).1, 4);
        assert_eq!(
            cache.resume(Some(1), &[1, 2]).1,
            0,
            "the blocks are in use already"
        );
        assert_eq!(cache.resume(None, &[1, 2]).1, 0);
    }

    #[test]
    fn the_least_recently_used_session_is_evicted_and_no_more_than_needed() {
        let mut cache = SharedCache::new(SHAPE);
        for session in 1..=3 {
            add_idle(&mut cache, session, &[session as u32; 8]);
        }
        let (table, _) = cache.resume(Some(1), &[1; 8]);
        cache.keep(1, vec![1; 8], table); // now 2 is the least recently used
        let mut table = BlockTable::default();
        cache.grow(&mut table, 16).unwrap();
        assert_eq!(cache.resume(Some(2), &[2; 8]).1, 0);
        assert_eq!(
            (
                cache.resume(Some(1), &[1; 8]).1,
                cache.resume(Some(3), &[3; 8]).1
            ),
            (7, 7)
        );
    }

    #[test]
    fn a_cache_full_of_running_sequences_is_an_error() {
        let mut cache = SharedCache::new(SHAPE);
        let mut running = BlockTable::default();
        cache.grow(&mut running, 32).unwrap();
        let error = cache.grow(&mut BlockTable::default(), 1).unwrap_err();
        assert!(matches!(
            error,
            ModelError::CacheFull {
                needed_blocks: 1,
                free_blocks: 0
            }
        ));
    }

    proptest! {
        /// Any mix of starting, growing, keeping and forgetting: each block has one owner, and none
        /// is lost.
        #[test]
        fn no_block_is_lost_or_owned_twice(steps in prop::collection::vec((0u8..4, 0u64..4, 1usize..33), 1..60)) {
            let mut cache = SharedCache::new(SHAPE);
            let mut running: Vec<(u64, BlockTable, usize)> = Vec::new();
            for (what, session, positions) in steps {
                match what {
                    0 => {
                        let (table, cached) = cache.resume(Some(session), &vec![7; positions]);
                        running.push((session, table, cached));
                    }
                    1 => {
                        if let Some((_, table, cached)) = running.first_mut()
                            && cache.grow(table, positions).is_ok() {
                            *cached = (*cached).max(positions);
                        }
                    }
                    2 if !running.is_empty() => {
                        let (session, table, cached) = running.remove(0);
                        cache.keep(session, vec![7; cached], table);
                    }
                    _ => cache.forget(session),
                }
                let tables = running.iter().map(|(_, table, _)| table).chain(cache.idle.values().map(|idle| &idle.table));
                let mut held: Vec<u32> = tables.flat_map(|table| table.blocks()).copied().collect();
                prop_assert_eq!(held.len(), cache.used_blocks());
                held.sort_unstable();
                held.dedup();
                prop_assert_eq!(held.len(), cache.used_blocks());
            }
        }
    }
}
