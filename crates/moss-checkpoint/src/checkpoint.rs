//! An opened checkpoint: configuration, and every tensor by name.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::{
    CheckpointError, DType, LinearFormat, Quantization, RawConfig, Tensor, TensorInfo, Warning,
    contents,
    declared::{self, Declared},
    files, formats,
    map::{MappedFile, WeightStorage},
    safetensors, torch_zip,
};

/// A checkpoint as published, mapped and indexed. Opening reads headers only.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    config: RawConfig,
    files: Vec<MappedFile>,
    /// Name to file number and place.
    tensors: BTreeMap<String, (usize, TensorInfo)>,
    /// What `quantization_config` and `quantize_config.json` say.
    declared: Option<Declared>,
    formats: Vec<(LinearFormat, usize)>,
    warnings: Vec<Warning>,
}

impl Checkpoint {
    /// Reads `config.json`, finds and maps the weight files, and reads their headers.
    ///
    /// # Errors
    /// A [`CheckpointError`] naming the file, what was found and what was expected.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        Self::open_with(folder, WeightStorage::Mapped)
    }

    /// The same, with the weight files mapped or read into memory.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`].
    pub fn open_with(
        folder: impl AsRef<Path>,
        storage: WeightStorage,
    ) -> Result<Self, CheckpointError> {
        let folder = folder.as_ref().to_owned();
        let found = files::find(&folder)?;
        let config = RawConfig::read(&folder)?;
        let declared =
            Declared::merge(config.quantization.clone(), Declared::from_folder(&folder)?)?;
        declared::check_legacy(&config, folder.join("config.json"), declared.as_ref())?;

        let mut mapped = Vec::new();
        let mut tensors = BTreeMap::new();
        for (number, path) in found.shards.iter().enumerate() {
            let file = MappedFile::open(path, storage)?;
            for info in read_header(&file)? {
                let name = info.name.clone();
                if let Some((first, _)) = tensors.insert(name.clone(), (number, info)) {
                    let first: &MappedFile = mapped.get(first).unwrap_or(&file);
                    return Err(CheckpointError::DuplicateTensor {
                        name,
                        first: first.path().to_owned(),
                        second: path.clone(),
                    });
                }
            }
            mapped.push(file);
        }
        if let Some((_, index)) = &found.index {
            for (name, shard) in &index.weight_map {
                let file = folder.join(shard);
                if tensors.get(name).is_none_or(|(_, info)| info.file != file) {
                    return Err(CheckpointError::MisplacedTensor {
                        name: name.clone(),
                        file,
                    });
                }
            }
        }
        let mut checkpoint = Self {
            folder,
            config,
            files: mapped,
            tensors,
            declared,
            formats: vec![],
            warnings: found.warnings,
        };
        contents::check_config(&checkpoint)?;
        let found = formats::scan(&checkpoint)?;
        (checkpoint.formats, checkpoint.warnings) =
            (found.found, [checkpoint.warnings, found.warnings].concat());
        checkpoint.collect_warnings();
        Ok(checkpoint)
    }

    /// The folder that was opened.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `config.json` as found.
    pub fn config(&self) -> &RawConfig {
        &self.config
    }

    /// How the linears are quantised, most of them where they differ; `None` for a dense
    /// checkpoint.
    pub fn quantization(&self) -> Option<Quantization> {
        self.formats.iter().find_map(|(format, _)| match format {
            LinearFormat::Gptq(found) => Some(*found),
            LinearFormat::Dense(_) => None,
        })
    }

    /// Every way in which linear layers of the blocks, and a packed `lm_head`, are stored, with the
    /// number of layers, most first: more than one in a mixed checkpoint.
    pub fn linear_formats(&self) -> &[(LinearFormat, usize)] {
        &self.formats
    }

    pub(crate) fn declared(&self) -> Option<&Declared> {
        self.declared.as_ref()
    }

    /// Oddities that were found and handled.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Every tensor, by name.
    pub fn tensor_infos(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.values().map(|(_, info)| info)
    }

    /// The weight files.
    pub fn weight_files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(MappedFile::path)
    }

    /// Type, shape and place of a tensor.
    pub(crate) fn info(&self, name: &str) -> Result<&TensorInfo, CheckpointError> {
        self.tensors
            .get(name)
            .map(|(_, info)| info)
            .ok_or_else(|| CheckpointError::MissingTensor {
                name: name.to_owned(),
                folder: self.folder.clone(),
            })
    }

    /// Bytes of the weight files of a folder, which [`WeightStorage::InMemory`] takes of memory.
    ///
    /// # Errors
    /// A [`CheckpointError`] for a folder whose weight files cannot be found.
    pub fn weight_file_bytes(folder: impl AsRef<Path>) -> Result<u64, CheckpointError> {
        let length = |file: &PathBuf| -> Result<u64, CheckpointError> {
            let data = std::fs::metadata(file);
            Ok(data
                .map_err(|source| CheckpointError::Read {
                    file: file.clone(),
                    source,
                })?
                .len())
        };
        files::find(folder.as_ref())?
            .shards
            .iter()
            .map(length)
            .sum()
    }

    /// Reads a tensor of floats a piece at a time and refuses inf and NaN. Tensors of other types
    /// pass.
    ///
    /// # Errors
    /// [`CheckpointError::NonFinite`] naming the first such element;
    /// [`CheckpointError::MissingTensor`]; [`CheckpointError::Read`].
    pub fn check_finite(&self, name: &str) -> Result<(), CheckpointError> {
        let Some((_, info)) = self.tensors.get(name) else {
            return self.tensor(name).map(|_| ());
        };
        if !matches!(info.dtype, DType::F16 | DType::BF16 | DType::F32) {
            return Ok(());
        }
        let mut before = 0;
        self.for_each_piece(name, &mut |piece| {
            let elements = piece.len() / info.dtype.bytes();
            let (data, shape) = (Bytes::copy_from_slice(piece), vec![elements]);
            let tensor = Tensor {
                name: name.into(),
                dtype: info.dtype,
                shape,
                data,
                file: info.file.clone(),
            };
            match tensor.check_finite() {
                Err(CheckpointError::NonFinite {
                    name,
                    file,
                    at,
                    value,
                }) => Err(CheckpointError::NonFinite {
                    name,
                    file,
                    at: before + at,
                    value,
                }),
                checked => {
                    before += elements;
                    checked.map(|_| ())
                }
            }
        })
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The bytes of a tensor: a view of the mapped file, or a copy where it is stored strided.
    ///
    /// # Errors
    /// [`CheckpointError::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<Tensor, CheckpointError> {
        let missing = || CheckpointError::MissingTensor {
            name: name.to_owned(),
            folder: self.folder.clone(),
        };
        let (file, info) = self.tensors.get(name).ok_or_else(missing)?;
        let file = self.files.get(*file).ok_or_else(missing)?;
        Ok(info.view(file.bytes()))
    }

    /// Reads `part`, bytes of a tensor, into `to`, which is as long: from the file where they are a
    /// view of it, else by copying.
    ///
    /// # Errors
    /// The system's, with the file's name; [`std::io::ErrorKind::UnexpectedEof`] for a file that
    /// has become shorter.
    ///
    /// # Panics
    /// Where the lengths differ.
    pub fn read(&self, part: &[u8], to: &mut [u8]) -> std::io::Result<()> {
        self.files
            .iter()
            .find_map(|file| file.read(part, to))
            .unwrap_or_else(|| {
                to.copy_from_slice(part);
                Ok(())
            })
    }

    /// Says that a tensor's mapped pages will not be read again, so that they stop counting as this
    /// process's memory.
    pub fn release(&self, name: &str) {
        if let Some((file, info)) = self.tensors.get(name)
            && let Some(file) = self.files.get(*file)
        {
            file.release(info.storage_start as usize, info.storage_len as usize);
        }
    }

    /// Shows the bytes of a tensor, row-major, some megabytes at a time, read by system calls:
    /// memory does not grow with the tensor, unless it is stored strided, and a file that was
    /// truncated is an error.
    ///
    /// # Errors
    /// [`CheckpointError::MissingTensor`]; [`CheckpointError::Read`]; and what `piece` returns.
    pub fn for_each_piece<E: From<CheckpointError>>(
        &self,
        name: &str,
        piece: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let missing = || CheckpointError::MissingTensor {
            name: name.to_owned(),
            folder: self.folder.clone(),
        };
        let (file, info) = self.tensors.get(name).ok_or_else(missing)?;
        info.for_each_piece(self.files.get(*file).ok_or_else(missing)?, piece)
    }

    /// Compares the head with what `tie_word_embeddings` and the published checkpoints have.
    fn check_head(&self) -> Option<Warning> {
        let part = |kind| self.info(&format!("{}.{kind}", contents::HEAD)).ok();
        let head = part("qweight").or(part("weight"))?;
        if self.config.tie_word_embeddings {
            let embedding = self.info(contents::EMBEDDING).ok()?;
            return (head.place() != embedding.place()).then_some(Warning::OwnHead);
        }
        part("bias").is_none().then_some(Warning::NoHeadBias)
    }

    fn collect_warnings(&mut self) {
        let packed = self.quantization();
        // An unquantised model's default of 32 means nothing where today's keys say how the weights
        // are packed, and is right for the dense layers of a mixed checkpoint.
        let is_packed = |(format, _): &(LinearFormat, _)| matches!(format, LinearFormat::Gptq(_));
        let is_stated = self.declared.is_none() && self.formats.iter().all(is_packed);
        let wbits = self
            .config
            .wbits
            .filter(|wbits| is_stated || (2..=8).contains(wbits));
        if let (Some(found), Some(wbits)) = (packed, wbits)
            && i64::from(found.bits) != wbits
        {
            self.warnings.push(Warning::BitWidth {
                config: wbits,
                tensors: found.bits,
            });
        }
        let stored = self
            .tensors
            .get(contents::EMBEDDING)
            .map(|(_, info)| info.dtype);
        // An unquantised checkpoint says 16 or 32 there, whatever its weights' type.
        if let (None, Some(stored), Some(wbits @ 2..=8)) = (packed, stored, wbits) {
            self.warnings.push(Warning::BitWidth {
                config: wbits,
                tensors: 8 * stored.bytes() as u32,
            });
        }
        if let (Some(stored), Some(said)) = (stored, self.config.torch_dtype.as_deref())
            && said != torch_name(stored)
        {
            let (config, tensors) = (said.to_owned(), torch_name(stored).to_owned());
            self.warnings.push(Warning::TorchDtype { config, tensors });
        }
        let head = self.check_head();
        self.warnings.extend(head);
        let unused = contents::unused(self);
        if let Some(first) = unused.first() {
            let (count, first) = (unused.len(), (*first).to_owned());
            self.warnings.push(Warning::UnknownTensors { count, first });
        }
    }
}

pub(crate) fn read_header(file: &MappedFile) -> Result<Vec<TensorInfo>, CheckpointError> {
    if let Some(found) = files::text_in_place_of_weights(file.bytes()) {
        return Err(CheckpointError::NotWeights {
            file: file.path().to_owned(),
            found,
        });
    }
    match file
        .path()
        .extension()
        .is_some_and(|extension| extension == "safetensors")
    {
        true => safetensors::read_header(file.bytes(), file.path()),
        false => torch_zip::read_header(file.bytes(), file.path()),
    }
}

fn torch_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        DType::F32 => "float32",
        _ => "another type",
    }
}
