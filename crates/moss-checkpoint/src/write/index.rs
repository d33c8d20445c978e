//! Writing a shard index.

use std::{collections::BTreeMap, path::Path};

use serde_json::json;

use crate::{CheckpointError, Container, Outline};

/// Writes the index of several shards into `folder`.
///
/// # Errors
/// [`CheckpointError::Write`].
pub fn write_index(
    folder: &Path,
    container: Container,
    shards: &[Vec<Outline>],
) -> Result<(), CheckpointError> {
    let total: u64 = shards.iter().flatten().map(Outline::bytes).sum();
    let mut weight_map = BTreeMap::new();
    for (number, shard) in shards.iter().enumerate() {
        let file = container.file_name(number + 1, shards.len());
        weight_map.extend(
            shard
                .iter()
                .map(|tensor| (tensor.name.as_str(), file.clone())),
        );
    }
    let index = json!({ "metadata": { "total_size": total }, "weight_map": weight_map });
    let file = folder.join(container.index_name());
    std::fs::write(&file, format!("{index:#}\n"))
        .map_err(|source| CheckpointError::Write { file, source })
}
