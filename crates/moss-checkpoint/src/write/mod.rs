//! Weight files, written from front to back: sizes are known beforehand, bytes come as they are
//! made.
//!
//! A writer holds no more than a buffer, whatever the size of a tensor. Its digest covers the
//! tensors' bytes alone, so that [`shard_digest`], which reads the file as any reader would, can
//! tell whether what lies there is what was meant.

mod safetensors;
mod torch;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use serde_json::json;
use sha2::{Digest, Sha256};

use self::{safetensors::SafetensorsFile, torch::TorchFile};
use crate::{
    CheckpointError, DType, TensorInfo,
    checkpoint::read_header,
    map::{MappedFile, WeightStorage},
};

/// Bytes that are read, hashed or copied at a time.
pub(crate) const PIECE: usize = 16 << 20;

/// How tensors are put into files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// `model*.safetensors`.
    Safetensors,
    /// `pytorch_model*.bin`, as `torch.save` writes a state dict since PyTorch 1.6.
    Torch,
}

impl Container {
    /// Name of shard `number` of `count`, from 1, as transformers looks for it.
    pub fn file_name(self, number: usize, count: usize) -> String {
        match (self, count) {
            (Self::Safetensors, 1) => "model.safetensors".into(),
            (Self::Torch, 1) => "pytorch_model.bin".into(),
            (Self::Safetensors, _) => format!("model-{number:05}-of-{count:05}.safetensors"),
            (Self::Torch, _) => format!("pytorch_model-{number:05}-of-{count:05}.bin"),
        }
    }

    /// Name of the index of several shards.
    pub fn index_name(self) -> &'static str {
        match self {
            Self::Safetensors => "model.safetensors.index.json",
            Self::Torch => "pytorch_model.bin.index.json",
        }
    }
}

/// A tensor to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Name in the checkpoint.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
}

impl Outline {
    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.dtype.bytes() as u64
    }
}

impl From<&TensorInfo> for Outline {
    fn from(info: &TensorInfo) -> Self {
        Self {
            name: info.name.clone(),
            dtype: info.dtype,
            shape: info.shape.clone(),
        }
    }
}

/// Cuts tensors, in order, into shards of at most `max_bytes`; a larger tensor has a shard of its
/// own.
pub fn plan_shards(tensors: Vec<Outline>, max_bytes: u64) -> Vec<Vec<Outline>> {
    let mut shards: Vec<Vec<Outline>> = Vec::new();
    let mut room = 0;
    for tensor in tensors {
        match shards.last_mut() {
            Some(shard) if tensor.bytes() <= room => {
                room -= tensor.bytes();
                shard.push(tensor);
            }
            _ => {
                room = max_bytes.saturating_sub(tensor.bytes());
                shards.push(vec![tensor]);
            }
        }
    }
    shards
}

/// SHA-256 over the bytes of a shard's tensors, in the order of its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardDigest([u8; 32]);

impl std::fmt::Display for ShardDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

enum Body {
    Safetensors(SafetensorsFile),
    Torch(Box<TorchFile>),
}

/// A weight file that is being written.
pub struct ShardWriter {
    file: PathBuf,
    body: Body,
    /// Tensors to come, the next one last.
    rest: Vec<Outline>,
    /// Bytes that the current tensor still lacks.
    missing: u64,
    digest: Sha256,
}

impl ShardWriter {
    /// Creates `file` and writes what stands before the first tensor.
    ///
    /// # Errors
    /// [`CheckpointError::Write`].
    pub fn create(
        file: &Path,
        container: Container,
        tensors: &[Outline],
    ) -> Result<Self, CheckpointError> {
        let write = |source| CheckpointError::Write {
            file: file.to_owned(),
            source,
        };
        let out = BufWriter::with_capacity(1 << 20, File::create(file).map_err(write)?);
        let body = match container {
            Container::Safetensors => {
                Body::Safetensors(SafetensorsFile::begin(out, tensors).map_err(write)?)
            }
            Container::Torch => {
                let stem = file
                    .file_name()
                    .map_or("archive".into(), |name| name.to_string_lossy());
                let stem = stem.split(".bin").next().unwrap_or_default();
                Body::Torch(Box::new(
                    TorchFile::begin(out, stem, tensors).map_err(write)?,
                ))
            }
        };
        let rest = tensors.iter().rev().cloned().collect();
        let mut writer = Self {
            file: file.to_owned(),
            body,
            rest,
            missing: 0,
            digest: Sha256::new(),
        };
        writer.advance()?;
        Ok(writer)
    }

    /// Writes the bytes that come next: tensors in the order of the plan, each row-major and
    /// little-endian, in pieces of any length.
    ///
    /// # Errors
    /// [`CheckpointError::Write`]; [`CheckpointError::WrongLength`] for more bytes than were
    /// planned.
    pub fn append(&mut self, mut bytes: &[u8]) -> Result<(), CheckpointError> {
        while !bytes.is_empty() {
            if self.missing == 0 {
                return Err(self.wrong_length(bytes.len() as i64));
            }
            let (now, later) = bytes.split_at(
                bytes
                    .len()
                    .min(usize::try_from(self.missing).unwrap_or(usize::MAX)),
            );
            let written = match &mut self.body {
                Body::Safetensors(file) => file.out.write_all(now),
                Body::Torch(file) => file.zip.write_all(now),
            };
            written.map_err(|source| CheckpointError::Write {
                file: self.file.clone(),
                source,
            })?;
            self.digest.update(now);
            self.missing -= now.len() as u64;
            bytes = later;
            if self.missing == 0 {
                self.advance()?;
            }
        }
        Ok(())
    }

    /// Writes what stands after the last tensor, and waits for the disk.
    ///
    /// # Errors
    /// [`CheckpointError::Write`]; [`CheckpointError::WrongLength`] for fewer bytes than were
    /// planned.
    pub fn finish(self) -> Result<ShardDigest, CheckpointError> {
        if self.missing > 0 {
            return Err(self.wrong_length(-(self.missing as i64)));
        }
        let write = |source| CheckpointError::Write {
            file: self.file.clone(),
            source,
        };
        let out = match self.body {
            Body::Safetensors(file) => file.out,
            Body::Torch(file) => file.finish().map_err(write)?,
        };
        let file = out
            .into_inner()
            .map_err(|error| write(error.into_error()))?;
        moss_files::sync(&file).map_err(write)?;
        Ok(ShardDigest(self.digest.finalize().into()))
    }

    /// Goes on to the next tensor that has bytes.
    fn advance(&mut self) -> Result<(), CheckpointError> {
        while self.missing == 0 {
            let Some(next) = self.rest.pop() else {
                return Ok(());
            };
            if let Body::Torch(file) = &mut self.body {
                let begun = file.begin_storage(next.bytes());
                begun.map_err(|source| CheckpointError::Write {
                    file: self.file.clone(),
                    source,
                })?;
            }
            self.missing = next.bytes();
        }
        Ok(())
    }

    fn wrong_length(&self, excess: i64) -> CheckpointError {
        CheckpointError::WrongLength {
            file: self.file.clone(),
            excess,
        }
    }
}

/// The digest of a file that is there, read as every reader reads it.
///
/// # Errors
/// As for opening a checkpoint; [`CheckpointError::NotAsPlanned`] when the file holds other tensors
/// than `tensors`, or in another order of bytes.
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
    Ok(ShardDigest(digest.finalize().into()))
}

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
