//! The files of a checkpoint that the engine reads.

use std::{collections::BTreeSet, path::Path};

use crate::MissingFile;

pub(crate) const NEEDED: [&str; 3] = ["config.json", "vocab.json", "merges.txt"];
#[cfg(feature = "download")]
const OPTIONAL: [&str; 3] = [
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
];
/// Start and end of the names of weight files, in the order of preference.
const WEIGHTS: [(&str, &str); 2] = [("model", ".safetensors"), ("pytorch_model", ".bin")];

/// Returns the names of a listing that the engine reads.
///
/// # Errors
/// The first missing file.
#[cfg(feature = "download")]
pub(crate) fn choose<'a>(names: &[&'a str]) -> Result<Vec<&'a str>, MissingFile> {
    if let Some(missing) = NEEDED.iter().find(|needed| !names.contains(needed)) {
        return Err(MissingFile::Named((*missing).to_owned()));
    }
    let weights = WEIGHTS
        .iter()
        .find_map(|(stem, suffix)| weights(names, stem, suffix));
    let weights = weights.ok_or(MissingFile::Weights)?;
    let small = names
        .iter()
        .filter(|name| NEEDED.contains(name) || OPTIONAL.contains(name));
    Ok(small.copied().chain(weights).collect())
}

/// Returns the single file, which transformers prefers too, or the shards with their index.
#[cfg(feature = "download")]
fn weights<'a>(names: &[&'a str], stem: &str, suffix: &str) -> Option<Vec<&'a str>> {
    if let Some(single) = names
        .iter()
        .find(|name| name.strip_prefix(stem) == Some(suffix))
    {
        return Some(vec![*single]);
    }
    let index = format!("{stem}{suffix}.index.json");
    if let Some(index) = names.iter().find(|name| **name == index) {
        let is_shard = |name: &&&str| {
            let middle = name
                .strip_prefix(stem)
                .and_then(|rest| rest.strip_suffix(suffix));
            middle.is_some_and(|middle| {
                middle.starts_with('-')
                    && middle
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            })
        };
        let shards: Vec<_> = names.iter().filter(is_shard).copied().collect();
        return (!shards.is_empty()).then(|| [vec![*index], shards].concat());
    }
    None
}

/// An added token of every published model.
const ADDED_TOKEN: &str = "\"<eom>\"";

/// Returns the first missing file that a conversation needs in addition to the weights.
pub(crate) fn missing_for_conversation(folder: &Path) -> Option<&'static str> {
    let missing = NEEDED.into_iter().find(|name| !folder.join(name).exists());
    missing.or_else(|| (!has_added_tokens(folder)).then_some("added_tokens.json"))
}

/// Returns `true` if one of the files that may list MOSS's added tokens does so. The tokenizer
/// checks the content of these files.
fn has_added_tokens(folder: &Path) -> bool {
    let lists = |name: &str, what: &str| {
        moss_files::read(&folder.join(name), moss_files::MAX_BYTES)
            .is_ok_and(|text| String::from_utf8_lossy(&text).contains(what))
    };
    folder.join("added_tokens.json").exists()
        || lists("tokenizer_config.json", "\"added_tokens_decoder\"")
        || lists("vocab.json", ADDED_TOKEN)
}

/// Returns `true` if a folder has a configuration and a complete set of weight files.
pub(crate) fn is_complete(folder: &Path) -> bool {
    let has_shards = |index: Vec<u8>| {
        shards(&index).is_some_and(|names| names.iter().all(|name| folder.join(name).exists()))
    };
    folder.join("config.json").exists()
        && WEIGHTS.iter().any(|(stem, suffix)| {
            folder.join(format!("{stem}{suffix}")).exists()
                || moss_files::read(
                    &folder.join(format!("{stem}{suffix}.index.json")),
                    moss_files::MAX_BYTES,
                )
                .is_ok_and(has_shards)
        })
}

/// Returns the files that an index names.
fn shards(index: &[u8]) -> Option<BTreeSet<String>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: std::collections::HashMap<String, String>,
    }
    let index: Index = serde_json::from_str(moss_unicode::decode(index).ok()?).ok()?;
    Some(index.weight_map.into_values().collect())
}
