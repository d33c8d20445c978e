//! The KV cache blocks of sequences, and of the prefixes that later requests can reuse.
//!
//! Only bookkeeping: [`BlockPool`] counts users, [`PrefixCache`] finds blocks, and the model owns
//! their storage.

use moss_model::{BlockPool, BlockTable, CacheShape, ModelError, TokenKind};

use crate::{
    kinds::KindChanges,
    prefix_cache::{BlockKey, NodeId, PrefixCache, Scope},
};

/// The cache blocks of one sequence.
#[derive(Debug)]
pub(crate) struct SequenceBlocks {
    scope: Scope,
    table: BlockTable,
    /// Positions whose keys and values are in the blocks.
    positions: usize,
    kinds: KindChanges,
    /// The nodes of the first blocks of the table.
    nodes: Vec<NodeId>,
    /// The kinds of a preempted sequence's tokens, and their number, until they are in the cache
    /// again.
    replay: Option<(KindChanges, usize)>,
    /// Is true if further blocks cannot enter the prefix cache, because it has the block before
    /// them with other rounding.
    is_detached: bool,
}

impl SequenceBlocks {
    pub(crate) fn new(scope: Scope) -> Self {
        Self {
            scope,
            table: BlockTable::default(),
            positions: 0,
            kinds: KindChanges::default(),
            nodes: Vec::new(),
            replay: None,
            is_detached: false,
        }
    }

    /// Returns true if the sequence was preempted, and not all of its tokens are in the cache again.
    pub(crate) fn is_replayed(&self) -> bool {
        self.replay.is_some()
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn table(&self) -> &BlockTable {
        &self.table
    }

    /// Returns the number of positions whose keys and values are in the cache.
    pub(crate) fn positions(&self) -> usize {
        self.positions
    }

    /// Returns true if all positions were computed as prompt.
    pub(crate) fn is_prompt(&self) -> bool {
        self.kinds.is_prompt(self.positions)
    }

    fn last_node(&self) -> NodeId {
        self.nodes.last().copied().unwrap_or(PrefixCache::ROOT)
    }
}

/// The blocks that a waiting sequence needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Blocks that are not in the prefix cache.
    pub(crate) needed: usize,
    /// Blocks that are free or can be evicted, without those that it would share.
    pub(crate) available: usize,
}

/// The block pool and the prefix cache.
///
/// A block table that uses a node's block also uses those of its ancestors. Every idle block can
/// therefore be evicted, leaves first.
#[derive(Debug)]
pub(crate) struct SharedCache {
    pool: BlockPool,
    /// `None` for a model without shared blocks.
    prefixes: Option<PrefixCache>,
    /// [`EngineOptions::deterministic`](crate::EngineOptions::deterministic).
    is_deterministic: bool,
}

impl SharedCache {
    pub(crate) fn new(shape: CacheShape, shares_blocks: bool, is_deterministic: bool) -> Self {
        Self {
            pool: BlockPool::new(shape),
            prefixes: shares_blocks.then(|| PrefixCache::new(shape.block_size)),
            is_deterministic,
        }
    }

    pub(crate) fn shape(&self) -> CacheShape {
        self.pool.shape()
    }

    /// Returns the number of blocks of running sequences.
    pub(crate) fn used_blocks(&self) -> usize {
        self.shape().num_blocks - self.pool.free_blocks() - self.pool.idle_blocks()
    }

    /// Makes the full blocks of a prefix visible to all scopes once they are computed.
    pub(crate) fn pin(&mut self, prefix: Vec<u32>) {
        if let Some(prefixes) = &mut self.prefixes {
            prefixes.pin(prefix);
        }
    }

    /// Adds cached blocks with these `ids` to `blocks`, and returns the number of new positions. The
    /// logits of the last token are needed, so it is computed in any case.
    ///
    /// The ids are those of a prompt. A preempted sequence uses only blocks with the kinds of its
    /// own tokens, and those of its reply too.
    pub(crate) fn reuse(&mut self, blocks: &mut SequenceBlocks, ids: &[u32]) -> usize {
        let Some(prefixes) = self.prefixes.as_mut().filter(|_| !blocks.is_detached) else {
            return 0;
        };
        let (size, limit) = (self.pool.shape().block_size, ids.len().saturating_sub(1));
        let before = blocks.positions;
        let replay = blocks.replay.take();
        let may_use = |kinds: &KindChanges, end| match &replay {
            Some((own, _)) => kinds.agrees(own, end),
            None => !self.is_deterministic || kinds.is_prompt(end),
        };
        loop {
            let start = blocks.nodes.len() * size;
            let end = start + size;
            if end > limit {
                break;
            }
            let node = prefixes.child(blocks.last_node(), &blocks.scope, &ids[start..end]);
            let Some(node) = node.filter(|node| may_use(&prefixes.node(*node).kinds, end)) else {
                break;
            };
            let found = prefixes.node(node);
            self.pool.truncate(&mut blocks.table, start);
            self.pool.share(&mut blocks.table, found.block);
            blocks.kinds.extend(&found.kinds, start, end);
            blocks.positions = end;
            blocks.nodes.push(node);
        }
        // A partly filled block is reused if that does not lose more than it gains.
        let start = blocks.nodes.len() * size;
        if blocks.positions == start && start < limit {
            let rest = &ids[start..limit];
            let leaf = prefixes.partial(blocks.last_node(), &blocks.scope, rest);
            let leaf = leaf.filter(|(node, shared)| {
                2 * shared >= prefixes.tokens(*node)
                    && may_use(&prefixes.node(*node).kinds, start + shared)
            });
            if let Some((node, shared)) = leaf {
                blocks.positions = start + shared;
                let kinds = &prefixes.node(node).kinds;
                blocks.kinds.extend(kinds, start, blocks.positions);
                let block = prefixes.remove(node);
                self.pool.truncate(&mut blocks.table, start);
                self.pool.take_over(&mut blocks.table, block);
            }
        }
        prefixes.touch(&blocks.nodes);
        blocks.replay = replay.filter(|(_, positions)| blocks.positions < *positions);
        blocks.positions - before
    }

    /// Returns the number of blocks that a sequence with these ids needs in addition to those of the
    /// prefix cache, and the number of blocks that it could allocate.
    pub(crate) fn demand(&self, scope: &Scope, ids: &[u32]) -> Demand {
        let size = self.shape().block_size;
        let needed = ids.len().div_ceil(size);
        let available = self.pool.free_blocks() + self.pool.idle_blocks();
        let (mut shared, mut idle, mut node) = (0, 0, PrefixCache::ROOT);
        if let Some(prefixes) = &self.prefixes {
            let full = ids[..ids.len().saturating_sub(1)].chunks_exact(size);
            for ids in full {
                let Some(child) = prefixes.child(node, scope, ids) else {
                    break;
                };
                node = child;
                shared += 1;
                idle += usize::from(self.pool.tables(prefixes.node(node).block) == 0);
            }
        }
        Demand {
            needed: needed - shared,
            available: available - idle,
        }
    }

    /// Returns the blocks that a sequence needs until all of its `ids` are in the cache.
    pub(crate) fn outstanding(&self, blocks: &SequenceBlocks, ids: &[u32]) -> usize {
        let needed = ids.len().div_ceil(self.shape().block_size);
        needed.saturating_sub(blocks.table.blocks().len())
    }

    /// Returns the key of the block that the sequence computes next, if the block ends within
    /// `prompt` and enters the prefix cache.
    pub(crate) fn next_block<'a>(
        &self,
        blocks: &'a SequenceBlocks,
        prompt: &'a [u32],
    ) -> Option<BlockKey<'a>> {
        let prefixes = self.prefixes.as_ref().filter(|_| !blocks.is_detached)?;
        let prefix = prompt.get(..(blocks.nodes.len() + 1) * self.shape().block_size)?;
        Some(prefixes.key(blocks.last_node(), &blocks.scope, prefix))
    }

    /// Allocates blocks for `tokens` more positions, and evicts cached prefixes if necessary.
    ///
    /// # Errors
    /// [`ModelError::CacheFull`] if running sequences use too many blocks.
    pub(crate) fn grow(
        &mut self,
        blocks: &mut SequenceBlocks,
        tokens: usize,
    ) -> Result<(), ModelError> {
        let positions = blocks.positions + tokens;
        loop {
            let Err(full) = self.pool.grow(&mut blocks.table, positions) else {
                return Ok(());
            };
            let evicted = self
                .prefixes
                .as_mut()
                .and_then(|prefixes| prefixes.evict(&self.pool));
            self.pool.forget(evicted.ok_or(full)?);
        }
    }

    /// Counts `tokens` more positions, which the model has written as `kind`. `ids` are those of
    /// the sequence. Complete blocks enter the prefix cache.
    pub(crate) fn advance(
        &mut self,
        blocks: &mut SequenceBlocks,
        ids: &[u32],
        tokens: usize,
        kind: TokenKind,
    ) {
        blocks.kinds.push(blocks.positions, kind);
        blocks.positions += tokens;
        let positions = blocks.positions;
        blocks.replay.take_if(|(_, end)| *end <= positions);
        let size = self.shape().block_size;
        let Some(prefixes) = &mut self.prefixes else {
            return;
        };
        while !blocks.is_detached && (blocks.nodes.len() + 1) * size <= blocks.positions {
            let index = blocks.nodes.len();
            let (start, end) = (index * size, (index + 1) * size);
            let (parent, own) = (blocks.last_node(), blocks.table.blocks()[index]);
            let mut kinds = blocks.kinds.clone();
            kinds.truncate(end);
            let Some(node) = prefixes.child(parent, &blocks.scope, &ids[start..end]) else {
                self.pool.keep(own);
                let key = prefixes.key(parent, &blocks.scope, &ids[..end]);
                blocks.nodes.push(prefixes.insert(&key, own, kinds));
                continue;
            };
            let found = prefixes.node(node);
            if found.kinds.agrees(&kinds, end) {
                // Another sequence has computed the same bits.
                self.pool.replace(&mut blocks.table, index, found.block);
            } else if kinds.is_prompt(end) && self.pool.tables(found.block) == 0 {
                self.pool.keep(own);
                let old = prefixes.replace(node, own, kinds);
                self.pool.forget(old);
            } else {
                blocks.is_detached = true;
                return;
            }
            blocks.nodes.push(node);
        }
    }

    /// Releases the blocks of a preempted sequence, as [`SharedCache::retire`] does, and returns its
    /// empty blocks.
    pub(crate) fn preempt(&mut self, blocks: SequenceBlocks, ids: &[u32]) -> SequenceBlocks {
        // A sequence that is preempted again keeps the kinds of its longer past.
        let own = Some((blocks.kinds.clone(), blocks.positions));
        let empty = SequenceBlocks {
            replay: blocks.replay.clone().or(own),
            ..SequenceBlocks::new(blocks.scope.clone())
        };
        self.retire(blocks, ids);
        empty
    }

    /// Releases the blocks of an ended sequence with these `ids`. The prefix cache keeps them until
    /// they are evicted. Only positions that were written are kept, so they are valid even after an
    /// error.
    pub(crate) fn retire(&mut self, mut blocks: SequenceBlocks, ids: &[u32]) {
        if let Some(prefixes) = &mut self.prefixes {
            let start = blocks.nodes.len() * self.pool.shape().block_size;
            if !blocks.is_detached && start < blocks.positions {
                let block = blocks.table.blocks()[blocks.nodes.len()];
                let ids = &ids[start..blocks.positions];
                blocks.kinds.truncate(blocks.positions);
                let (parent, kinds) = (blocks.last_node(), blocks.kinds);
                let (is_kept, replaced) =
                    prefixes.insert_partial(parent, &blocks.scope, ids, block, kinds);
                if is_kept {
                    self.pool.keep(block);
                }
                if let Some(replaced) = replaced {
                    self.pool.forget(replaced);
                }
            }
            prefixes.touch(&blocks.nodes);
        }
        self.pool.release(blocks.table);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
