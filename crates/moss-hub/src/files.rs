//! Which files of a checkpoint the engine needs.

use std::{collections::BTreeSet, fs, path::Path};

const NEEDED: [&str; 3] = ["config.json", "vocab.json", "merges.txt"];
const WELCOME: [&str; 3] = ["added_tokens.json", "special_tokens_map.json", "tokenizer_config.json"];
/// As the engine prefers them.
const WEIGHTS: [(&str, &str); 2] = [("model", ".safetensors"), ("pytorch_model", ".bin")];

/// Of a listing's names those that the engine reads.
///
/// # Errors
/// What is missing there.
pub(crate) fn choose<'a>(names: &[&'a str]) -> Result<Vec<&'a str>, String> {
    if let Some(missing) = NEEDED.iter().find(|needed| !names.contains(needed)) {
        return Err((*missing).to_owned());
    }
    let weights = WEIGHTS.iter().find_map(|(stem, suffix)| weights(names, stem, suffix));
    let weights = weights.ok_or("model*.safetensors or pytorch_model*.bin")?;
    let small = names.iter().filter(|name| NEEDED.contains(name) || WELCOME.contains(name));
    Ok(small.copied().chain(weights).collect())
}

/// The shards with their index, or the one file.
fn weights<'a>(names: &[&'a str], stem: &str, suffix: &str) -> Option<Vec<&'a str>> {
    let index = format!("{stem}{suffix}.index.json");
    if let Some(index) = names.iter().find(|name| **name == index) {
        let is_shard = |name: &&&str| {
            let middle = name.strip_prefix(stem).and_then(|rest| rest.strip_suffix(suffix));
            middle.is_some_and(|middle| {
                middle.starts_with('-') && middle.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            })
        };
        let shards: Vec<_> = names.iter().filter(is_shard).copied().collect();
        return (!shards.is_empty()).then(|| [vec![*index], shards].concat());
    }
    names.iter().find(|name| name.strip_prefix(stem) == Some(suffix)).map(|name| vec![*name])
}

/// Whether a folder holds a configuration, and every weight file that it speaks of.
pub(crate) fn is_whole(folder: &Path) -> bool {
    folder.join("config.json").exists()
        && WEIGHTS.iter().any(|(stem, suffix)| {
            match fs::read(folder.join(format!("{stem}{suffix}.index.json"))) {
                Ok(index) => {
                    shards(&index).is_some_and(|names| names.iter().all(|name| folder.join(name).exists()))
                }
                Err(_) => folder.join(format!("{stem}{suffix}")).exists(),
            }
        })
}

/// The files that an index speaks of.
fn shards(index: &[u8]) -> Option<BTreeSet<String>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: std::collections::HashMap<String, String>,
    }
    let index: Index = serde_json::from_str(moss_unicode::decode(index).ok()?).ok()?;
    Some(index.weight_map.into_values().collect())
}
