//! The tensors of all weight files of a checkpoint, by name.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::{
    CheckpointError, Tensor, TensorInfo, WeightStorage, header::read_header, index::Index,
    map::MappedFile, weight_files::WeightFiles,
};

/// Open weight files, and the tensors in them.
#[derive(Debug)]
pub(crate) struct TensorIndex {
    folder: PathBuf,
    files: Vec<MappedFile>,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Index into `TensorIndex::files`.
    file: usize,
    info: TensorInfo,
}

impl TensorIndex {
    /// Opens the weight files of a folder and reads their headers. Every tensor must be in one
    /// file, which is the one that the shard index names.
    pub(crate) fn open(
        folder: &Path,
        found: &WeightFiles,
        storage: WeightStorage,
    ) -> Result<Self, CheckpointError> {
        let mut index = Self {
            folder: folder.to_owned(),
            files: Vec::with_capacity(found.shards.len()),
            tensors: BTreeMap::new(),
        };
        for path in &found.shards {
            index.add(MappedFile::open(path, storage)?)?;
        }
        if let Some((_, shards)) = &found.index {
            index.check_shards(shards)?;
        }
        Ok(index)
    }

    fn add(&mut self, file: MappedFile) -> Result<(), CheckpointError> {
        let number = self.files.len();
        for info in read_header(&file)? {
            let name = info.name.clone();
            let entry = Entry { file: number, info };
            if let Some(other) = self.tensors.insert(name.clone(), entry) {
                return Err(CheckpointError::DuplicateTensor {
                    name,
                    first: other.info.file,
                    second: file.path().to_owned(),
                });
            }
        }
        self.files.push(file);
        Ok(())
    }

    fn check_shards(&self, shards: &Index) -> Result<(), CheckpointError> {
        for (name, shard) in &shards.weight_map {
            let file = self.folder.join(shard);
            if self.get(name).is_none_or(|info| info.file != file) {
                return Err(CheckpointError::MisplacedTensor {
                    name: name.clone(),
                    file,
                });
            }
        }
        Ok(())
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &MappedFile> {
        self.files.iter()
    }

    pub(crate) fn infos(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.values().map(|entry| &entry.info)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name).map(|entry| &entry.info)
    }

    pub(crate) fn info(&self, name: &str) -> Result<&TensorInfo, CheckpointError> {
        self.get(name).ok_or_else(|| self.missing(name))
    }

    /// Returns a tensor: a view of its file, or a copy if it is strided.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor, CheckpointError> {
        let (file, info) = self.file_of(name)?;
        Ok(info.view(file.bytes()))
    }

    /// Passes the bytes of a tensor to `piece`, at most [`crate::map::PIECE`] at a time.
    pub(crate) fn for_each_piece<E: From<CheckpointError>>(
        &self,
        name: &str,
        piece: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (file, info) = self.file_of(name)?;
        info.for_each_piece(file, piece)
    }

    /// Rejects inf and NaN in a tensor of floats, which is read a piece at a time.
    pub(crate) fn check_finite(&self, name: &str) -> Result<(), CheckpointError> {
        let info = self.info(name)?;
        if info.dtype.dense().is_none() {
            return Ok(());
        }
        let mut checked = 0;
        self.for_each_piece(name, &mut |piece| {
            let elements = piece.len() / info.dtype.bytes();
            let tensor = Tensor {
                name: name.into(),
                dtype: info.dtype,
                shape: vec![elements],
                data: Bytes::copy_from_slice(piece),
                file: info.file.clone(),
            };
            tensor.check_finite().map_err(|error| match error {
                CheckpointError::NonFinite {
                    name,
                    file,
                    at,
                    value,
                } => CheckpointError::NonFinite {
                    name,
                    file,
                    at: checked + at,
                    value,
                },
                other => other,
            })?;
            checked += elements;
            Ok(())
        })
    }

    /// Copies `part`, bytes of a tensor, into `to`.
    pub(crate) fn read(&self, part: &[u8], to: &mut [u8]) -> std::io::Result<()> {
        self.files
            .iter()
            .find_map(|file| file.read(part, to))
            .unwrap_or_else(|| {
                to.copy_from_slice(part);
                Ok(())
            })
    }

    /// Removes the mapped pages of a tensor from this process; a later read maps them again.
    pub(crate) fn release(&self, name: &str) {
        if let Ok((file, info)) = self.file_of(name) {
            file.release(info.storage_start as usize, info.storage_len as usize);
        }
    }

    fn file_of(&self, name: &str) -> Result<(&MappedFile, &TensorInfo), CheckpointError> {
        let missing = || self.missing(name);
        let entry = self.tensors.get(name).ok_or_else(missing)?;
        let file = self.files.get(entry.file).ok_or_else(missing)?;
        Ok((file, &entry.info))
    }

    pub(crate) fn missing(&self, name: &str) -> CheckpointError {
        CheckpointError::MissingTensor {
            name: name.to_owned(),
            folder: self.folder.clone(),
        }
    }
}
