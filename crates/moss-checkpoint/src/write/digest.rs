//! Digests of shards, to compare a written file with what was meant to be written.

use std::{collections::BTreeMap, path::Path};

use sha2::{Digest, Sha256};

use crate::{
    CheckpointError, Outline,
    header::read_header,
    map::{MappedFile, WeightStorage},
};

/// SHA-256 over the bytes of a shard's tensors, in the order of its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardDigest([u8; 32]);

impl ShardDigest {
    pub(super) fn new(digest: Sha256) -> Self {
        Self(digest.finalize().into())
    }
}

impl std::fmt::Display for ShardDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Returns the digest of an existing file, read like any weight file.
///
/// # Errors
/// As for opening a checkpoint; [`CheckpointError::NotAsPlanned`] if the tensors of the file differ
/// from `tensors` in name, type or shape.
pub fn shard_digest(file: &Path, tensors: &[Outline]) -> Result<ShardDigest, CheckpointError> {
    let map = MappedFile::open(file, WeightStorage::Mapped)?;
    let found: BTreeMap<_, _> = read_header(&map)?
        .into_iter()
        .map(|info| (info.name.clone(), info))
        .collect();
    let mut digest = Sha256::new();
    for outline in tensors {
        let info = found
            .get(&outline.name)
            .filter(|info| Outline::from(*info) == *outline);
        let Some(info) = info.filter(|_| found.len() == tensors.len()) else {
            return Err(CheckpointError::NotAsPlanned {
                file: file.to_owned(),
                name: outline.name.clone(),
            });
        };
        info.for_each_piece(&map, &mut |piece| {
            digest.update(piece);
            Ok::<_, CheckpointError>(())
        })?;
    }
    Ok(ShardDigest::new(digest))
}
