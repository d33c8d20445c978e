//! An open checkpoint: configuration, and every tensor by name.

use std::path::{Path, PathBuf};

use moss_weights::{
    LinearParts, LinearShape,
    names::{EMBEDDING, LM_HEAD},
};

use crate::{
    CheckpointError, LinearFormat, Quantization, RawConfig, Tensor, TensorInfo, Warning, contents,
    formats::{self, Formats},
    linear::read_linear,
    manifest::Manifest,
    map::{MappedFile, WeightStorage},
    weight_files,
};

/// A checkpoint as published: its configuration and its tensors. Opening it reads headers only.
#[derive(Debug)]
pub struct Checkpoint {
    manifest: Manifest,
    formats: Vec<(LinearFormat, usize)>,
    warnings: Vec<Warning>,
}

impl Checkpoint {
    /// Opens a folder: reads `config.json`, memory-maps the weight files, and reads their headers.
    ///
    /// # Errors
    /// A [`CheckpointError`] naming the file, the value found and the value expected.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        Self::open_with(folder, WeightStorage::Mapped)
    }

    /// Opens a folder, with the weight files memory-mapped or read into memory.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`].
    pub fn open_with(
        folder: impl AsRef<Path>,
        storage: WeightStorage,
    ) -> Result<Self, CheckpointError> {
        let folder = folder.as_ref();
        let found = weight_files::find(folder)?;
        let manifest = Manifest::open(folder, &found, storage)?;
        contents::check_config(&manifest)?;
        let formats = formats::scan(&manifest)?;
        let mut warnings = found.warnings;
        warnings.extend_from_slice(&formats.warnings);
        warnings.extend(bit_width_warning(&manifest, &formats));
        warnings.extend(dtype_warning(&manifest));
        warnings.extend(head_warning(&manifest));
        warnings.extend(unused_warning(&manifest));
        Ok(Self {
            manifest,
            formats: formats.found,
            warnings,
        })
    }

    /// Returns the bytes of the weight files of a folder: the memory that
    /// [`WeightStorage::InMemory`] needs.
    ///
    /// # Errors
    /// A [`CheckpointError`] for a folder whose weight files cannot be found.
    pub fn weight_file_bytes(folder: impl AsRef<Path>) -> Result<u64, CheckpointError> {
        let length = |file: &PathBuf| match std::fs::metadata(file) {
            Ok(data) => Ok(data.len()),
            Err(source) => Err(CheckpointError::Read {
                file: file.clone(),
                source,
            }),
        };
        weight_files::find(folder.as_ref())?
            .shards
            .iter()
            .map(length)
            .sum()
    }

    /// Returns the folder of the checkpoint.
    pub fn folder(&self) -> &Path {
        self.manifest.tensors.folder()
    }

    /// Returns `config.json` as found.
    pub fn config(&self) -> &RawConfig {
        &self.manifest.config
    }

    /// Returns the quantization of the linear layers, or of most of them if they differ; `None` for
    /// a dense checkpoint.
    pub fn quantization(&self) -> Option<Quantization> {
        self.formats.iter().find_map(|(format, _)| match format {
            LinearFormat::Gptq(found) => Some(*found),
            LinearFormat::Dense(_) => None,
        })
    }

    /// Returns the storage formats of the linear layers in the blocks, and of a packed `lm_head`,
    /// with the number of layers in each, most first. A mixed checkpoint has several.
    pub fn linear_formats(&self) -> &[(LinearFormat, usize)] {
        &self.formats
    }

    /// Returns the oddities that were found and handled.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Returns every tensor, ordered by name.
    pub fn tensor_infos(&self) -> impl Iterator<Item = &TensorInfo> {
        self.manifest.tensors.infos()
    }

    /// Returns the weight files.
    pub fn weight_files(&self) -> impl Iterator<Item = &Path> {
        self.manifest.tensors.files().map(MappedFile::path)
    }

    /// Returns `true` if there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.manifest.tensors.contains(name)
    }

    /// Returns a tensor: a view of its file, or a copy if it is strided.
    ///
    /// # Errors
    /// [`CheckpointError::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<Tensor, CheckpointError> {
        self.manifest.tensors.tensor(name)
    }

    /// Reads the linear layer called `stem`, such as `transformer.h.3.attn.qkv_proj`, and checks
    /// every shape and type.
    ///
    /// # Errors
    /// Names the tensor and its file if a tensor is missing, has another shape or type, or has
    /// scales or a bias that are not finite; and if the layer should have no bias, but has one that
    /// is not zero.
    pub fn linear(&self, stem: &str, shape: LinearShape) -> Result<LinearParts, CheckpointError> {
        read_linear(&self.manifest, stem, shape)
    }

    /// Rejects inf and NaN in a tensor of floats, which is read some megabytes at a time. Other
    /// tensors pass.
    ///
    /// # Errors
    /// [`CheckpointError::NonFinite`] naming the first such element;
    /// [`CheckpointError::MissingTensor`]; [`CheckpointError::Read`].
    pub fn check_finite(&self, name: &str) -> Result<(), CheckpointError> {
        self.manifest.tensors.check_finite(name)
    }

    /// Copies `part`, bytes of a tensor, into `to`, which has the same length: by a system call if
    /// `part` is a view of a mapped file.
    ///
    /// # Errors
    /// The system's, with the file's name; [`std::io::ErrorKind::UnexpectedEof`] for a file that
    /// has become shorter.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn read(&self, part: &[u8], to: &mut [u8]) -> std::io::Result<()> {
        self.manifest.tensors.read(part, to)
    }

    /// Removes a tensor's mapped pages from this process, so that they no longer count as its
    /// memory. Reading the tensor again maps them again.
    pub fn release(&self, name: &str) {
        self.manifest.tensors.release(name);
    }

    /// Passes the bytes of a tensor to `piece`, row-major, some megabytes at a time. They are read
    /// by system calls: memory does not grow with the tensor, unless it is strided, and a truncated
    /// file is an error.
    ///
    /// # Errors
    /// [`CheckpointError::MissingTensor`]; [`CheckpointError::Read`]; and those of `piece`.
    pub fn for_each_piece<E: From<CheckpointError>>(
        &self,
        name: &str,
        piece: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.manifest.tensors.for_each_piece(name, piece)
    }
}

/// Compares `wbits` with the linear layers.
fn bit_width_warning(manifest: &Manifest, formats: &Formats) -> Option<Warning> {
    let wbits = manifest.config.wbits?;
    let mut packed = formats.found.iter().filter_map(|(format, _)| match format {
        LinearFormat::Gptq(found) => Some(found.bits.bits() as u32),
        LinearFormat::Dense(_) => None,
    });
    if let Some(bits) = packed.next() {
        // A `wbits` of 32 is the default of upstream's class. It says nothing if newer keys declare
        // the quantization, and it is right for the dense layers of a mixed checkpoint.
        let is_all_packed = formats.found.len() == 1 + packed.count();
        let is_declared = (2..=8).contains(&wbits);
        let applies = is_declared || manifest.quantization.is_none() && is_all_packed;
        return (applies && i64::from(bits) != wbits).then_some(Warning::BitWidth {
            config: wbits,
            tensors: bits,
        });
    }
    // A dense checkpoint says 16 or 32, whatever the type of its weights.
    let stored = manifest.tensors.get(EMBEDDING)?.dtype;
    (2..=8).contains(&wbits).then_some(Warning::BitWidth {
        config: wbits,
        tensors: 8 * stored.bytes() as u32,
    })
}

/// Compares `torch_dtype` with the embedding.
fn dtype_warning(manifest: &Manifest) -> Option<Warning> {
    let config = manifest.config.torch_dtype.as_deref()?;
    let tensors = manifest.tensors.get(EMBEDDING)?.dtype.torch_name();
    (config != tensors).then(|| Warning::TorchDtype {
        config: config.to_owned(),
        tensors,
    })
}

/// Compares lm_head with `tie_word_embeddings` and with the published checkpoints.
fn head_warning(manifest: &Manifest) -> Option<Warning> {
    let part = |kind| manifest.tensors.get(&format!("{LM_HEAD}.{kind}"));
    let head = part("qweight").or(part("weight"))?;
    if manifest.config.tie_word_embeddings {
        let embedding = manifest.tensors.get(EMBEDDING)?;
        return (head.place() != embedding.place()).then_some(Warning::OwnHead);
    }
    part("bias").is_none().then_some(Warning::NoHeadBias)
}

fn unused_warning(manifest: &Manifest) -> Option<Warning> {
    let unused = contents::unused(manifest);
    let first = unused.first()?;
    Some(Warning::UnknownTensors {
        count: unused.len(),
        first: (*first).to_owned(),
    })
}
