//! The 8-bit KV cache: close to the oracle, and as independent of the batch as the exact cache.

use moss_model::{
    BlockPool, BlockTable, ComputeDtype, KvCacheType, LanguageModel, LoadOptions, LogitRows, Moss,
    SequenceChunk, TokenKind,
};
use moss_testing::Goldens;

use super::{F16_MULTIPLE, check_logits_of, max_difference, open, run};

const FOLDERS: [&str; 6] = [
    "tiny-fp16-bin",
    "tiny-int4",
    "mini-int4-act-order",
    "mini-int8",
    "mini-fp16-safetensors",
    "wide-int4",
];

/// Keys and values have four bits fewer than in f16, relative to the largest of each head.
const INT8_MULTIPLE: f32 = F16_MULTIPLE * 16.0;

fn int8(folder: &str, dtype: ComputeDtype) -> Moss {
    let options = LoadOptions {
        dtype,
        kv_cache: KvCacheType::Int8,
        ..LoadOptions::cpu(1024)
    };
    open(folder, &options).unwrap()
}

#[test]
fn logits_stay_within_seven_bits_of_the_oracle_and_are_not_exact() {
    for folder in FOLDERS {
        let expected = Goldens::read(folder, "expected");
        let f16 = expected.json["max_abs_logit_diff_of_fp16_run"]
            .as_f64()
            .unwrap() as f32;
        for dtype in [ComputeDtype::F32, ComputeDtype::F16] {
            let mut model = int8(folder, dtype);
            check_logits_of(&mut model, folder, &expected, f16 * INT8_MULTIPLE);
        }
        let prompt: Vec<u32> = (0..70).map(|i| i * 7 % 150).collect();
        let exact = run(
            &mut open(folder, &LoadOptions::cpu(1024)).unwrap(),
            &prompt,
            usize::MAX,
        );
        let found = run(&mut int8(folder, ComputeDtype::F32), &prompt, usize::MAX);
        assert!(max_difference(&exact, &found) > 0.0, "{folder}");
    }
}

#[test]
fn logits_have_the_same_bits_for_any_chunking_and_kind() {
    for (folder, dtype) in [
        ("tiny-fp16-bin", ComputeDtype::F32),
        ("tiny-int4", ComputeDtype::F16),
        ("mini-int8", ComputeDtype::BF16),
        ("wide-int4", ComputeDtype::F16),
    ] {
        let mut model = int8(folder, dtype);
        let vocab = model.config().vocab_size as u32;
        let prompt: Vec<u32> = (0..70).map(|i| i * 7 % vocab.min(150)).collect();
        let whole = run(&mut model, &prompt, usize::MAX);
        for chunk in [1, 2, 7, 16, 33] {
            assert!(
                run(&mut model, &prompt, chunk) == whole,
                "{folder}: chunks of {chunk}"
            );
        }
    }
}

#[test]
fn sequences_have_the_same_bits_alone_and_in_a_batch_of_both_kinds() {
    let mut model = int8("tiny-int4", ComputeDtype::F16);
    let mut pool = BlockPool::new(model.cache_shape());
    let sequences: Vec<(Vec<u32>, BlockTable)> = (1..9u32)
        .map(|n| {
            let ids: Vec<u32> = (0..n * 9).map(|i| (i * n * 31) % 1500).collect();
            let mut blocks = BlockTable::default();
            pool.grow(&mut blocks, ids.len()).unwrap();
            (ids, blocks)
        })
        .collect();
    let chunk = |index: usize| {
        let (ids, blocks) = &sequences[index];
        let start_pos = if index.is_multiple_of(2) {
            0
        } else {
            ids.len() - 1
        };
        SequenceChunk {
            token_ids: &ids[start_pos..],
            kind: if start_pos == 0 {
                TokenKind::Prompt
            } else {
                TokenKind::Generated
            },
            start_pos,
            blocks,
            logits: LogitRows::All,
        }
    };
    let batch: Vec<_> = (0..sequences.len()).map(chunk).collect();
    for (part, (ids, _)) in batch.iter().zip(&sequences) {
        let before = SequenceChunk {
            token_ids: &ids[..part.start_pos],
            kind: TokenKind::Prompt,
            start_pos: 0,
            blocks: part.blocks,
            logits: LogitRows::None,
        };
        if part.start_pos > 0 {
            model.forward(&[before], &|| false).unwrap();
        }
    }
    let alone: Vec<_> = batch
        .iter()
        .map(|part| model.forward(&[*part], &|| false).unwrap().remove(0))
        .collect();
    let together = model.forward(&batch, &|| false).unwrap();
    for (index, (together, alone)) in together.iter().zip(&alone).enumerate() {
        assert!(together.values() == alone.values(), "sequence {index}");
    }
}

#[test]
fn a_position_needs_one_byte_per_value_and_two_per_head() {
    let model = int8("tiny-int4", ComputeDtype::F32);
    let config = model.config();
    let expected = 2 * config.num_layers * (config.hidden_size + 2 * config.num_heads);
    assert_eq!(model.cache_bytes_per_position(), expected as u64);
}
