//! Fixtures, and the logits of a folder.
#![allow(dead_code)] // each test file uses a part

use std::{fs, path::Path};

use moss_checkpoint::Checkpoint;
use moss_model::{
    BlockPool, BlockTable, LanguageModel, LoadOptions, LogitRows, Moss, SequenceChunk, TokenKind,
};

pub(crate) const ALL: &[&str] = &[
    "tiny-fp16-bin",
    "tiny-fp16-safetensors",
    "tiny-int4",
    "mini-fp16-safetensors",
    "mini-int4-act-order",
    "mini-int8",
    "mini-int8-act-order",
    "wide-int4",
];

/// Returns the bits of the logits of forty tokens.
pub(crate) fn logits(folder: &Path) -> Vec<u32> {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let mut model = Moss::load(&checkpoint, &LoadOptions::cpu(64), &mut |_| {}).unwrap();
    let vocab = model.config().vocab_size as u32;
    let ids: Vec<u32> = (0..40).map(|at| at * 37 % vocab).collect();
    let mut blocks = BlockTable::default();
    BlockPool::new(model.cache_shape())
        .grow(&mut blocks, ids.len())
        .unwrap();
    let chunk = SequenceChunk {
        token_ids: &ids,
        kind: TokenKind::Prompt,
        start_pos: 0,
        blocks: &blocks,
        logits: LogitRows::All,
    };
    let logits = model.forward(&[chunk], &|| false).unwrap();
    logits[0]
        .values()
        .iter()
        .map(|value| value.to_bits())
        .collect()
}

/// Every file's name and bytes.
pub(crate) fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                fs::read(path).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}
