//! The shard index of a checkpoint in several files: tensor names to file names.

use std::{
    collections::BTreeMap,
    path::{Component, Path},
};

use serde::Deserialize;

use crate::{CheckpointError, error::FileRole, read};

/// `pytorch_model.bin.index.json` or `model.safetensors.index.json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Index {
    /// Tensor name to file name.
    pub(crate) weight_map: BTreeMap<String, String>,
}

impl Index {
    pub(crate) fn from_json(bytes: &[u8], file: &Path) -> Result<Self, CheckpointError> {
        let index: Self = serde_json::from_str(read::text(bytes, file)?).map_err(|source| {
            CheckpointError::Json {
                file: file.to_owned(),
                what: FileRole::ShardIndex,
                source,
            }
        })?;
        for shard in index.weight_map.values() {
            let mut parts = Path::new(shard).components();
            // A path could leave the folder.
            if !matches!(
                (parts.next(), parts.next()),
                (Some(Component::Normal(_)), None)
            ) {
                return Err(CheckpointError::ShardName {
                    index: file.to_owned(),
                    shard: shard.clone(),
                });
            }
        }
        Ok(index)
    }

    /// Returns the file names with the number of tensors in each.
    pub(crate) fn shards(&self) -> BTreeMap<&str, usize> {
        let mut shards = BTreeMap::new();
        for shard in self.weight_map.values() {
            *shards.entry(shard.as_str()).or_insert(0) += 1;
        }
        shards
    }
}
