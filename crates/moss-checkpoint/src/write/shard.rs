//! A weight file that is written from front to back.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{safetensors::SafetensorsFile, torch::TorchFile};
use crate::{CheckpointError, Container, Outline, ShardDigest};

enum Body {
    Safetensors(SafetensorsFile),
    Torch(Box<TorchFile>),
}

/// A weight file during writing.
pub struct ShardWriter {
    file: PathBuf,
    body: Body,
    /// Tensors that are not begun, the next one last.
    rest: Vec<Outline>,
    /// Bytes of the current tensor that are not written.
    missing: u64,
    digest: Sha256,
}

impl ShardWriter {
    /// Creates `file` and writes everything before the first tensor.
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

    /// Appends bytes: tensors in the order of the plan, each row-major and little-endian, in pieces
    /// of any length.
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

    /// Writes everything after the last tensor, and flushes the file to disk.
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
        Ok(ShardDigest::new(self.digest))
    }

    /// Begins the next tensor that has bytes.
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
