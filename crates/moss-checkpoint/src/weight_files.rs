//! Search for the weight files of a folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use moss_files::FileKind;

use crate::{CheckpointError, Warning, error::FileRole, index::Index, read};

/// Weight files in reading order, and their index.
pub(crate) struct WeightFiles {
    pub(crate) shards: Vec<PathBuf>,
    pub(crate) index: Option<(PathBuf, Index)>,
    pub(crate) warnings: Vec<Warning>,
}

/// Start and end of the names of weight files, in the order in which transformers looks for them.
const KINDS: [(&str, &str); 2] = [("model", ".safetensors"), ("pytorch_model", ".bin")];

/// Finds the weights as transformers does: `model.safetensors`, its index, `pytorch_model.bin`, its
/// index. Shards without an index come last.
pub(crate) fn find(folder: &Path) -> Result<WeightFiles, CheckpointError> {
    let names = list(folder)?;
    let single = KINDS.map(|(stem, ending)| format!("{stem}{ending}"));
    let index = KINDS.map(|(stem, ending)| format!("{stem}{ending}.index.json"));
    let exists = |name: &&String| names.contains(*name);
    let mut in_order = single
        .iter()
        .zip(&index)
        .flat_map(|(single, index)| [single, index]);
    let found = match in_order.find(exists) {
        Some(name) if single.contains(name) => without_index(vec![folder.join(name)]),
        Some(name) => from_index(folder, name, &names)?,
        None => match KINDS
            .into_iter()
            .map(|kind| shards_of(&names, kind))
            .find(|shards| !shards.is_empty())
        {
            Some(shards) => {
                without_index(shards.into_iter().map(|name| folder.join(name)).collect())
            }
            None => match names.iter().find(|name| name.ends_with(".index.json")) {
                Some(name) => from_index(folder, name, &names)?,
                None => {
                    return Err(no_weights(folder, names));
                }
            },
        },
    };
    Ok(with_warnings(folder, found, &names, &index))
}

/// Adds warnings about weight files and indices that are not used.
fn with_warnings(
    folder: &Path,
    mut found: WeightFiles,
    names: &[String],
    indices: &[String],
) -> WeightFiles {
    let in_use = match (&found.index, found.shards.first()) {
        (Some((index, _)), _) => index.clone(),
        (None, Some(first)) => first.clone(),
        (None, None) => return found,
    };
    let used = in_use
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut ignored = Vec::new();
    for name in names {
        let path = folder.join(name);
        if path == in_use || found.shards.contains(&path) {
            continue;
        }
        if indices.contains(name) {
            let missing = read_index(&path).map_or(0, |index| missing(&index, names).len());
            if missing > 0 {
                found.warnings.push(Warning::StaleIndex {
                    index: path,
                    missing,
                    used: used.clone(),
                });
                continue;
            }
        }
        if indices.contains(name) || KINDS.iter().any(|kind| is_of(name, *kind)) {
            ignored.push(path);
        }
    }
    if !ignored.is_empty() {
        found.warnings.push(Warning::SeveralSets { used, ignored });
    }
    found
}

fn without_index(shards: Vec<PathBuf>) -> WeightFiles {
    WeightFiles {
        shards,
        index: None,
        warnings: vec![],
    }
}

fn is_of(name: &str, (stem, ending): (&str, &str)) -> bool {
    name.starts_with(stem) && name.ends_with(ending)
}

fn shards_of<'a>(names: &'a [String], kind: (&str, &str)) -> Vec<&'a str> {
    names
        .iter()
        .map(String::as_str)
        .filter(|name| is_of(name, kind))
        .collect()
}

fn from_index(folder: &Path, name: &str, names: &[String]) -> Result<WeightFiles, CheckpointError> {
    let path = folder.join(name);
    let index = read_index(&path)?;
    if let Some((shard, tensors)) = missing(&index, names).first() {
        let (index_path, shard) = (path, (*shard).to_owned());
        return Err(match complete_set(names, &index) {
            Some(complete) => {
                let missing = missing(&index, names).len();
                CheckpointError::StaleIndex {
                    index: index_path,
                    shard,
                    missing,
                    complete,
                }
            }
            None => CheckpointError::MissingShard {
                index: index_path,
                shard,
                tensors: *tensors,
            },
        });
    }
    let shards = index
        .shards()
        .keys()
        .map(|shard| folder.join(shard))
        .collect();
    Ok(WeightFiles {
        shards,
        index: Some((path, index)),
        warnings: vec![],
    })
}

fn read_index(path: &Path) -> Result<Index, CheckpointError> {
    Index::from_json(&read::read(path, FileRole::ShardIndex)?, path)
}

/// Returns the shards that the index names and the folder lacks, with their number of tensors.
fn missing<'a>(index: &'a Index, names: &[String]) -> Vec<(&'a str, usize)> {
    index
        .shards()
        .into_iter()
        .filter(|(shard, _)| !names.iter().any(|name| name == shard))
        .collect()
}

/// Returns the first file of a complete set of weights that does not need the index `stale`: one
/// file, or every shard of a series.
fn complete_set(names: &[String], stale: &Index) -> Option<String> {
    let stale = stale.shards();
    for (stem, ending) in KINDS {
        let single = format!("{stem}{ending}");
        let mut others = names.iter().filter(|name| is_of(name, (stem, ending)));
        if let Some(name) = others.clone().find(|name| **name == single) {
            return Some(name.clone());
        }
        // `model-00001-of-00004.safetensors`: complete if the others up to 4 exist.
        let complete = others.find(|first| {
            let series = first
                .strip_prefix(stem)
                .and_then(|rest| rest.strip_prefix("-00001-of-"));
            let count = series.and_then(|rest| rest.strip_suffix(ending)?.parse::<usize>().ok());
            let shard =
                |number: usize, count: usize| format!("{stem}-{number:05}-of-{count:05}{ending}");
            count.is_some_and(|count| {
                count <= names.len()
                    && (1..=count).all(|number| names.contains(&shard(number, count)))
                    && !(1..=count).all(|number| stale.contains_key(shard(number, count).as_str()))
            })
        });
        if let Some(name) = complete {
            return Some(name.clone());
        }
    }
    None
}

fn list(folder: &Path) -> Result<Vec<String>, CheckpointError> {
    let read = |source| CheckpointError::Read {
        file: folder.to_owned(),
        source,
    };
    if !fs::metadata(folder).map_err(read)?.is_dir() {
        return Err(CheckpointError::WrongKind {
            file: folder.to_owned(),
            found: FileKind::File,
            expected: FileRole::CheckpointFolder,
        });
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        // No file of a checkpoint has a name that is not UTF-8.
        names.extend(entry.map_err(read)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

fn no_weights(folder: &Path, mut names: Vec<String>) -> CheckpointError {
    const SHOWN: usize = 8;
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    CheckpointError::NoWeights {
        folder: folder.to_owned(),
        names,
        more,
    }
}
