//! Which files of a folder hold the weights.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use crate::{CheckpointError, Warning, index::Index};

/// Weight files in reading order, and the index that goes with them.
pub(crate) struct WeightFiles {
    pub(crate) shards: Vec<PathBuf>,
    pub(crate) index: Option<(PathBuf, Index)>,
    pub(crate) warning: Option<Warning>,
}

/// Finds the weights: safetensors before pickles, an index before single files.
pub(crate) fn find(folder: &Path) -> Result<WeightFiles, CheckpointError> {
    let names = list(folder)?;
    let with = |ending: &str, stem: &str| -> Vec<PathBuf> {
        let matches = names.iter().filter(|name| name.ends_with(ending) && name.starts_with(stem));
        matches.map(|name| folder.join(name)).collect()
    };
    let (safetensors, pickles) = (with(".safetensors", "model"), with(".bin", "pytorch_model"));
    let (index_name, shards) = match (safetensors.is_empty(), pickles.is_empty()) {
        (false, _) => ("model.safetensors.index.json", safetensors),
        (true, false) => ("pytorch_model.bin.index.json", pickles.clone()),
        (true, true) => match names.iter().find(|name| name.ends_with(".index.json")) {
            Some(index) => return from_index(folder, &folder.join(index)),
            None => {
                return Err(CheckpointError::NoWeights {
                    folder: folder.to_owned(),
                    found: describe(&names),
                });
            }
        },
    };
    let two = index_name.starts_with("model") && !pickles.is_empty();
    let warning = two.then_some(Warning::TwoContainers { ignored: pickles });
    if names.iter().any(|name| name == index_name) {
        return Ok(WeightFiles { warning, ..from_index(folder, &folder.join(index_name))? });
    }
    Ok(WeightFiles { shards, index: None, warning })
}

fn from_index(folder: &Path, path: &Path) -> Result<WeightFiles, CheckpointError> {
    let index = Index::from_json(&read(path, "a shard index")?, path)?;
    let mut shards = Vec::new();
    for (shard, tensors) in index.shards() {
        let file = folder.join(shard);
        if fs::symlink_metadata(&file).is_err() {
            return Err(CheckpointError::MissingShard {
                index: path.to_owned(),
                shard: shard.to_owned(),
                tensors,
            });
        }
        shards.push(file);
    }
    Ok(WeightFiles { shards, index: Some((path.to_owned(), index)), warning: None })
}

/// The whole of a JSON file. The published ones are under 50 KB; far larger ones are something else, and are not read.
pub(crate) fn read(path: &Path, expected: &'static str) -> Result<Vec<u8>, CheckpointError> {
    const MAX_BYTES: u64 = 64 << 20;
    expect_file(path, expected)?;
    let read = |source| CheckpointError::Read { file: path.to_owned(), source };
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(read)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() as u64 > MAX_BYTES {
        let found = "a file of more than 64 MiB";
        return Err(CheckpointError::WrongKind { file: path.to_owned(), found, expected });
    }
    Ok(bytes)
}

/// The text of a JSON file, which a user may have edited: a byte order mark is skipped.
pub(crate) fn text<'a>(bytes: &'a [u8], path: &Path) -> Result<&'a str, CheckpointError> {
    moss_unicode::decode(bytes).map_err(|source| CheckpointError::Encoding { file: path.to_owned(), source })
}

/// Refuses folders, dangling links, empty files, and text that was downloaded in place of weights.
pub(crate) fn expect_file(path: &Path, expected: &'static str) -> Result<(), CheckpointError> {
    let wrong = |found| CheckpointError::WrongKind { file: path.to_owned(), found, expected };
    let data = match fs::metadata(path) {
        Ok(data) => data,
        Err(_) if fs::symlink_metadata(path).is_ok() => return Err(wrong("a dangling link")),
        Err(source) => return Err(CheckpointError::Read { file: path.to_owned(), source }),
    };
    match (data.is_dir(), data.is_file(), data.len()) {
        (true, ..) => Err(wrong("a folder")),
        (_, false, _) => Err(wrong("neither a file nor a folder")),
        (.., 0) => Err(wrong("an empty file")),
        _ => Ok(()),
    }
}

/// What stands where weights should be, if it is a well-known kind of text.
pub(crate) fn text_in_place_of_weights(head: &[u8]) -> Option<&'static str> {
    let head = head.get(..head.len().min(512)).unwrap_or_default().trim_ascii_start(); // no page of weights beyond the first
    if head.starts_with(b"version https://git-lfs") {
        return Some("a git-lfs pointer");
    }
    let lower = head.get(..head.len().min(16)).unwrap_or_default().to_ascii_lowercase();
    (lower.starts_with(b"<!doctype") || lower.starts_with(b"<html")).then_some("a web page")
}

fn list(folder: &Path) -> Result<Vec<String>, CheckpointError> {
    let read = |source| CheckpointError::Read { file: folder.to_owned(), source };
    if !fs::metadata(folder).map_err(read)?.is_dir() {
        return Err(CheckpointError::WrongKind {
            file: folder.to_owned(),
            found: "a file",
            expected: "a checkpoint's folder",
        });
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        // A name that is not UTF-8 cannot be one that checkpoints have; it is passed over.
        names.extend(entry.map_err(read)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

fn describe(names: &[String]) -> String {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return "an empty folder".into();
    }
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<_> = names.iter().take(SHOWN).map(String::as_str).collect();
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}
