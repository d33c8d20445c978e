//! Shared parts of the tests on a GPU.

use std::ops::Range;

use moss_model::{
    BlockTable, DeviceSpec, LoadOptions, LogitRows, MossConfig, SequenceChunk, TokenKind,
};

/// Code of the GPU itself, and of a T4.
pub(crate) const CODES: [Option<u32>; 2] = [None, Some(75)];

/// Returns the sizes of a small network with heads of the published size.
pub(crate) fn small_config(num_layers: usize) -> MossConfig {
    MossConfig {
        vocab_size: 512,
        hidden_size: 1024,
        num_layers,
        num_heads: 4,
        inner_size: 4096,
        ..MossConfig::moon_003()
    }
}

/// Returns options for `stages` stages on GPU 0, with a cache of `positions`.
pub(crate) fn options(newest_code: Option<u32>, stages: usize, positions: usize) -> LoadOptions {
    let gpu = DeviceSpec::Gpu {
        ordinal: 0,
        newest_code,
    };
    LoadOptions {
        devices: vec![gpu; stages],
        ..LoadOptions::gpu(0, positions)
    }
}

/// Returns `tokens` token ids below `vocab`, different for every `seed`.
pub(crate) fn token_ids(tokens: usize, vocab: u32, seed: usize) -> Vec<u32> {
    let id = |i: u32| i.wrapping_mul(2_654_435_761).wrapping_add(seed as u32) % vocab;
    (1..=tokens as u32).map(id).collect()
}

/// Returns a chunk of a sequence, all logits of which are wanted.
pub(crate) fn chunk<'a>(
    ids: &'a [u32],
    tokens: Range<usize>,
    kind: TokenKind,
    blocks: &'a BlockTable,
) -> SequenceChunk<'a> {
    SequenceChunk {
        token_ids: &ids[tokens.clone()],
        kind,
        start_pos: tokens.start,
        blocks,
        logits: LogitRows::All,
    }
}
