//! The prefixes whose keys and values are in the KV cache: a trie over the token ids of blocks.
//!
//! A node is one block. Its children are found by their exact token ids, so there are no hashes and
//! no collisions of different prefixes. Only bookkeeping: [`BlockPool`] counts the users of blocks,
//! and the model owns their storage.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use moss_model::BlockPool;

use crate::kinds::KindChanges;

/// The requests that may find each other's prefixes: the time to the first token shows whether a
/// prefix is cached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// All requests: the prefix is pinned.
    All,
    /// Those of an owner and a cache key.
    Only {
        owner: Arc<str>,
        cache_key: Option<Arc<str>>,
    },
}

impl Scope {
    /// Returns the scope of requests without an owner and a cache key: those of a program that
    /// serves itself.
    pub(crate) fn of_program() -> Self {
        Self::Only {
            owner: Arc::from(""),
            cache_key: None,
        }
    }
}

/// The index of a node.
pub(crate) type NodeId = usize;

/// A cached block, after the blocks of its ancestors.
#[derive(Debug)]
pub(crate) struct Node {
    parent: NodeId,
    scope: Scope,
    /// As many as a block has positions; fewer in a partial leaf.
    ids: Arc<[u32]>,
    pub(crate) block: u32,
    /// The kinds of all tokens up to its end.
    pub(crate) kinds: KindChanges,
    /// [`PrefixCache::clock`] of its last use.
    last_use: u64,
    branches: HashMap<Scope, Branch>,
}

/// The children of a node with one scope.
#[derive(Debug, Default)]
struct Branch {
    full: HashMap<Arc<[u32]>, NodeId>,
    /// Blocks that are only partly filled. They have no children.
    partial: Vec<NodeId>,
}

/// A child, or a place for one: two sequences with the same key compute the same block.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct BlockKey<'a> {
    parent: NodeId,
    scope: &'a Scope,
    ids: &'a [u32],
}

/// The most partial leaves after a node with one scope: a prompt is compared with all of them, in
/// every step.
pub(crate) const MOST_PARTIAL: usize = 32;

/// A trie of cached blocks.
#[derive(Debug)]
pub(crate) struct PrefixCache {
    block_size: usize,
    /// The first one is the root, which has no block.
    nodes: Vec<Node>,
    /// Unused elements of `nodes`.
    vacant: Vec<NodeId>,
    /// Nodes without children, in order of eviction: those that are not pinned first, then by their
    /// last use.
    leaves: BTreeSet<(bool, u64, NodeId)>,
    /// Prefixes that all scopes share.
    pinned: Vec<Vec<u32>>,
    clock: u64,
}

impl PrefixCache {
    pub(crate) const ROOT: NodeId = 0;

    pub(crate) fn new(block_size: usize) -> Self {
        let root = Node {
            parent: Self::ROOT,
            scope: Scope::All,
            ids: Arc::from([]),
            block: u32::MAX,
            kinds: KindChanges::default(),
            last_use: 0,
            branches: HashMap::new(),
        };
        Self {
            block_size,
            nodes: vec![root],
            vacant: Vec::new(),
            leaves: BTreeSet::new(),
            pinned: Vec::new(),
            clock: 0,
        }
    }

    pub(crate) fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node]
    }

    /// Makes the full blocks of `ids` visible to all scopes once they are computed.
    pub(crate) fn pin(&mut self, mut ids: Vec<u32>) {
        ids.truncate(ids.len() / self.block_size * self.block_size);
        if !self.pinned.iter().any(|pinned| pinned.starts_with(&ids)) {
            self.pinned.retain(|pinned| !ids.starts_with(pinned));
            self.pinned.push(ids);
        }
    }

    /// Returns the key of the block at the end of `prefix`, whose length is a multiple of the block
    /// size. `scope` is that of the sequence.
    pub(crate) fn key<'a>(
        &self,
        parent: NodeId,
        scope: &'a Scope,
        prefix: &'a [u32],
    ) -> BlockKey<'a> {
        let is_shared = self.nodes[parent].scope == Scope::All
            && self.pinned.iter().any(|pinned| pinned.starts_with(prefix));
        BlockKey {
            parent,
            scope: if is_shared { &Scope::All } else { scope },
            ids: &prefix[prefix.len() - self.block_size..],
        }
    }

    /// Returns the child of `parent` with these ids that `scope` may use.
    pub(crate) fn child(&self, parent: NodeId, scope: &Scope, ids: &[u32]) -> Option<NodeId> {
        let branches = &self.nodes[parent].branches;
        let child = |scope| branches.get(scope)?.full.get(ids).copied();
        child(&Scope::All).or_else(|| child(scope))
    }

    /// Returns the partial leaf after `parent` that shares the most first tokens with `ids`, and
    /// their number.
    pub(crate) fn partial(
        &self,
        parent: NodeId,
        scope: &Scope,
        ids: &[u32],
    ) -> Option<(NodeId, usize)> {
        let branch = self.nodes[parent].branches.get(scope)?;
        let shared = |node: &NodeId| (*node, common_prefix(&self.nodes[*node].ids, ids));
        branch
            .partial
            .iter()
            .map(shared)
            .max_by_key(|(_, shared)| *shared)
    }

    /// Returns the number of tokens in a node's block.
    pub(crate) fn tokens(&self, node: NodeId) -> usize {
        self.nodes[node].ids.len()
    }

    /// Adds a block, which the caller keeps. With fewer ids than a block has positions, it is a
    /// partial leaf.
    pub(crate) fn insert(&mut self, key: &BlockKey<'_>, block: u32, kinds: KindChanges) -> NodeId {
        self.clock += 1;
        let ids: Arc<[u32]> = key.ids.into();
        let node = Node {
            parent: key.parent,
            scope: key.scope.clone(),
            ids: ids.clone(),
            block,
            kinds,
            last_use: self.clock,
            branches: HashMap::new(),
        };
        let id = match self.vacant.pop() {
            Some(id) => {
                self.nodes[id] = node;
                id
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        self.leaves.remove(&self.leaf(key.parent));
        let branches = &mut self.nodes[key.parent].branches;
        let branch = branches.entry(key.scope.clone()).or_default();
        if ids.len() == self.block_size {
            branch.full.insert(ids, id);
        } else {
            branch.partial.push(id);
        }
        self.leaves.insert(self.leaf(id));
        id
    }

    /// Adds the partly filled block of a sequence that has ended, unless a partial leaf has its ids
    /// already. Returns true if it was added, and the block of the leaf that it replaces: one whose
    /// ids it continues, or the least recently used one of [`MOST_PARTIAL`].
    pub(crate) fn insert_partial(
        &mut self,
        parent: NodeId,
        scope: &Scope,
        ids: &[u32],
        block: u32,
        kinds: KindChanges,
    ) -> (bool, Option<u32>) {
        let found = self.partial(parent, scope, ids);
        if found.is_some_and(|(_, shared)| shared == ids.len()) {
            return (false, None);
        }
        let continued = found.filter(|(node, shared)| *shared == self.tokens(*node));
        let replaced = continued.map(|(node, _)| node);
        let replaced = replaced.or_else(|| self.least_used_partial(parent, scope));
        let key = BlockKey { parent, scope, ids };
        self.insert(&key, block, kinds);
        (true, replaced.map(|node| self.remove(node)))
    }

    /// Returns the least recently used partial leaf if there are [`MOST_PARTIAL`].
    fn least_used_partial(&self, parent: NodeId, scope: &Scope) -> Option<NodeId> {
        let leaves = &self.nodes[parent].branches.get(scope)?.partial;
        let leaves = Some(leaves).filter(|leaves| leaves.len() >= MOST_PARTIAL)?;
        let last_use = |node: &NodeId| self.nodes[*node].last_use;
        leaves.iter().copied().min_by_key(last_use)
    }

    /// Replaces the block of a node by another one with the same tokens; returns the old one.
    pub(crate) fn replace(&mut self, node: NodeId, block: u32, kinds: KindChanges) -> u32 {
        self.nodes[node].kinds = kinds;
        std::mem::replace(&mut self.nodes[node].block, block)
    }

    /// Marks nodes as used now.
    pub(crate) fn touch(&mut self, nodes: &[NodeId]) {
        self.clock += 1;
        for node in nodes {
            let was_leaf = self.leaves.remove(&self.leaf(*node));
            self.nodes[*node].last_use = self.clock;
            if was_leaf {
                self.leaves.insert(self.leaf(*node));
            }
        }
    }

    /// Removes the first leaf in the order of eviction that no block table uses; returns its block.
    pub(crate) fn evict(&mut self, pool: &BlockPool) -> Option<u32> {
        let mut leaves = self.leaves.iter().map(|(_, _, node)| *node);
        let node = leaves.find(|node| pool.tables(self.nodes[*node].block) == 0)?;
        Some(self.remove(node))
    }

    /// Removes a leaf and returns its block.
    pub(crate) fn remove(&mut self, id: NodeId) -> u32 {
        self.leaves.remove(&self.leaf(id));
        self.vacant.push(id);
        let Node {
            parent, scope, ids, ..
        } = &self.nodes[id];
        let (parent, scope, ids) = (*parent, scope.clone(), ids.clone());
        let branches = &mut self.nodes[parent].branches;
        if let Some(branch) = branches.get_mut(&scope) {
            branch.full.remove(&ids);
            branch.partial.retain(|node| *node != id);
            if branch.full.is_empty() && branch.partial.is_empty() {
                branches.remove(&scope);
            }
        }
        if branches.is_empty() && parent != Self::ROOT {
            self.leaves.insert(self.leaf(parent));
        }
        self.nodes[id].block
    }

    /// Returns the element of [`PrefixCache::leaves`] for a node.
    fn leaf(&self, id: NodeId) -> (bool, u64, NodeId) {
        let node = &self.nodes[id];
        (node.scope == Scope::All, node.last_use, id)
    }
}

/// Returns the number of equal first elements.
fn common_prefix(one: &[u32], other: &[u32]) -> usize {
    let pairs = one.iter().zip(other);
    pairs.take_while(|(a, b)| a == b).count()
}
