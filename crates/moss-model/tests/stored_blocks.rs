//! Cache blocks that were stored outside of the cache, and written to that of another model, give
//! the bits of a prompt that is computed as a whole. On a GPU too; without one, that test is skipped
//! with a note.
#![allow(clippy::unwrap_used)]

use moss_checkpoint::Checkpoint;
use moss_cpu::{Activations, ops::RopePrecision};
use moss_model::{
    BlockFormat, BlockPool, BlockTable, CacheShape, ComputeDtype, DeviceSpec, LanguageModel,
    LoadOptions, LogitRows, Moss, SequenceChunk, TokenKind, WeightSource,
};
use moss_testing::fixture;

const BLOCK: usize = CacheShape::BLOCK_SIZE;
/// Two full blocks, and a rest of some tokens.
const TOKENS: usize = 2 * BLOCK + 5;

fn ids(vocab: usize) -> Vec<u32> {
    let id = |i: u32| i.wrapping_mul(2_654_435_761) % vocab as u32;
    (1..=TOKENS as u32).map(id).collect()
}

/// Returns the logits of the last token of `ids`, after `stored` positions in the cache.
fn last_logits(model: &mut Moss, blocks: &BlockTable, ids: &[u32], stored: usize) -> Vec<f32> {
    let chunk = SequenceChunk {
        token_ids: &ids[stored..],
        kind: TokenKind::Prompt,
        start_pos: stored,
        blocks,
        logits: LogitRows::Last,
    };
    model.forward(&[chunk], &|| false).unwrap()[0]
        .values()
        .to_vec()
}

/// Computes a prompt with `from`, moves its full blocks to `to`, and compares the logits that `to`
/// computes from them with those of `from`. Returns the format of the blocks.
fn check(source: &dyn WeightSource, from: &LoadOptions, to: &LoadOptions) -> BlockFormat {
    let mut from = Moss::load(source, from, &mut |_| {}).unwrap();
    let mut to = Moss::load(source, to, &mut |_| {}).unwrap();
    let ids = ids(from.config().vocab_size);
    let (mut pool, mut table) = (BlockPool::new(from.cache_shape()), BlockTable::default());
    pool.grow(&mut table, TOKENS).unwrap();
    let expected = last_logits(&mut from, &table, &ids, 0);

    // Other block numbers than in the first cache.
    let (mut pool, mut other) = (BlockPool::new(to.cache_shape()), BlockTable::default());
    pool.grow(&mut BlockTable::default(), BLOCK).unwrap();
    pool.grow(&mut other, TOKENS).unwrap();
    assert_ne!(table.blocks(), other.blocks());
    let format = from.block_format().unwrap();
    assert_eq!(to.block_format().as_ref(), Some(&format));
    for (&read, &written) in table.blocks().iter().zip(other.blocks()).take(2) {
        let mut bytes = Vec::new();
        from.read_block(read, &mut bytes).unwrap();
        assert_eq!(bytes.len(), format.bytes);
        assert!(bytes.iter().any(|byte| *byte != 0));
        to.write_block(written, &bytes).unwrap();
    }
    let found = last_logits(&mut to, &other, &ids, 2 * BLOCK);
    assert!(found == expected, "the logits differ");
    format
}

fn cpu(stages: usize) -> LoadOptions {
    LoadOptions {
        devices: vec![DeviceSpec::Cpu; stages],
        ..LoadOptions::cpu(8 * BLOCK)
    }
}

#[test]
fn stored_blocks_give_the_bits_of_a_whole_prompt_for_every_number_of_stages() {
    for folder in ["tiny-fp16-bin", "mini-int4-act-order", "mini-int8"] {
        let source = Checkpoint::open(fixture(folder)).unwrap();
        check(&source, &cpu(1), &cpu(2));
        check(&source, &cpu(2), &cpu(1));
        for dtype in [ComputeDtype::F16, ComputeDtype::BF16] {
            let options = LoadOptions { dtype, ..cpu(1) };
            check(&source, &options, &options);
        }
    }
}

#[test]
fn everything_that_changes_bits_changes_the_description() {
    let source = Checkpoint::open(fixture("mini-int8")).unwrap();
    let f16 = LoadOptions {
        dtype: ComputeDtype::F16,
        ..cpu(1)
    };
    let all = [
        cpu(1),
        LoadOptions {
            rope_precision: RopePrecision::F16,
            ..cpu(1)
        },
        LoadOptions {
            dtype: ComputeDtype::BF16,
            ..cpu(1)
        },
        LoadOptions {
            activations: Activations::Int8,
            ..f16.clone()
        },
        f16,
    ];
    let describe = |options: &LoadOptions| {
        let model = Moss::load(&source, options, &mut |_| {}).unwrap();
        model.block_format().unwrap().description
    };
    let mut found: Vec<_> = all.iter().map(describe).collect();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), all.len(), "{found:#?}");
}

#[test]
fn a_block_with_another_number_of_bytes_is_rejected() {
    let source = Checkpoint::open(fixture("mini-int8")).unwrap();
    for stages in [1, 2] {
        let mut model = Moss::load(&source, &cpu(stages), &mut |_| {}).unwrap();
        let bytes = vec![0; model.block_format().unwrap().bytes + 1];
        for len in [0, 1, bytes.len() / 2, bytes.len() - 2, bytes.len()] {
            assert!(model.write_block(0, &bytes[..len]).is_err(), "{len}");
        }
        model.write_block(0, &bytes[1..]).unwrap();
        assert!(model.write_block(8, &bytes[1..]).is_err());
        assert!(model.read_block(8, &mut Vec::new()).is_err());
    }
}

#[cfg(feature = "cuda")]
#[test]
#[allow(clippy::print_stderr)]
fn stored_blocks_of_a_gpu_give_the_bits_of_a_whole_prompt() {
    if !moss_model::has_gpu().unwrap_or(false) {
        eprintln!("skipped: no GPU");
        return;
    }
    for folder in ["tiny-fp16-bin", "mini-int4-act-order", "mini-int8"] {
        let source = Checkpoint::open(fixture(folder)).unwrap();
        for newest_code in [None, Some(75)] {
            let gpu = DeviceSpec::Gpu {
                ordinal: 0,
                newest_code,
            };
            let options = |stages| LoadOptions {
                devices: vec![gpu; stages],
                ..LoadOptions::gpu(0, 8 * BLOCK)
            };
            check(&source, &options(1), &options(2));
            check(&source, &options(2), &options(1));
        }
    }
}
