//! An opened checkpoint: configuration, and every tensor by name.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::{
    CheckpointError, DType, RawConfig, Tensor, TensorInfo, Warning, files, linear,
    map::{MappedFile, WeightStorage},
    safetensors, torch_zip,
};

/// How a checkpoint's linears are quantised, as its tensors show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantization {
    /// Bits of a weight.
    pub bits: u32,
    /// Input features that share a scale.
    pub group_size: usize,
    /// Whether linears were quantised in order of activation.
    pub act_order: bool,
}

/// Name of the packed matrix whose shape tells the bit width.
const PROBE: &str = "transformer.h.0.attn.qkv_proj";

/// A checkpoint as published, mapped and indexed. Opening reads headers only.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    config: RawConfig,
    files: Vec<MappedFile>,
    /// Name to file number and place.
    tensors: BTreeMap<String, (usize, TensorInfo)>,
    quantization: Option<Quantization>,
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
    pub fn open_with(folder: impl AsRef<Path>, storage: WeightStorage) -> Result<Self, CheckpointError> {
        let folder = folder.as_ref().to_owned();
        let found = files::find(&folder)?;
        let config = RawConfig::read(&folder)?;

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
                    return Err(CheckpointError::MisplacedTensor { name: name.clone(), file });
                }
            }
        }
        let mut checkpoint = Self {
            folder,
            config,
            files: mapped,
            tensors,
            quantization: None,
            warnings: found.warning.into_iter().collect(),
        };
        checkpoint.quantization = checkpoint.probe_quantization()?;
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

    /// How the linears are quantised; `None` for a dense checkpoint.
    pub fn quantization(&self) -> Option<Quantization> {
        self.quantization
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

    /// Bytes of the weight files of a folder, which [`WeightStorage::InMemory`] takes of memory.
    ///
    /// # Errors
    /// A [`CheckpointError`] for a folder whose weight files cannot be found.
    pub fn weight_file_bytes(folder: impl AsRef<Path>) -> Result<u64, CheckpointError> {
        let length = |file: &PathBuf| -> Result<u64, CheckpointError> {
            let data = std::fs::metadata(file);
            Ok(data.map_err(|source| CheckpointError::Read { file: file.clone(), source })?.len())
        };
        files::find(folder.as_ref())?.shards.iter().map(length).sum()
    }

    /// Reads a tensor of floats a piece at a time and refuses inf and NaN. Tensors of other types pass.
    ///
    /// # Errors
    /// [`CheckpointError::NonFinite`] naming the first such element; [`CheckpointError::MissingTensor`];
    /// [`CheckpointError::Read`].
    pub fn check_finite(&self, name: &str) -> Result<(), CheckpointError> {
        let Some((_, info)) = self.tensors.get(name) else { return self.tensor(name).map(|_| ()) };
        if !matches!(info.dtype, DType::F16 | DType::BF16 | DType::F32) {
            return Ok(());
        }
        let mut before = 0;
        self.for_each_piece(name, &mut |piece| {
            let elements = piece.len() / info.dtype.bytes();
            let (data, shape) = (Bytes::copy_from_slice(piece), vec![elements]);
            let tensor =
                Tensor { name: name.into(), dtype: info.dtype, shape, data, file: info.file.clone() };
            match tensor.check_finite() {
                Err(CheckpointError::NonFinite { name, file, at, value }) => {
                    Err(CheckpointError::NonFinite { name, file, at: before + at, value })
                }
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
        let missing =
            || CheckpointError::MissingTensor { name: name.to_owned(), folder: self.folder.clone() };
        let (file, info) = self.tensors.get(name).ok_or_else(missing)?;
        let file = self.files.get(*file).ok_or_else(missing)?;
        Ok(info.view(file.bytes()))
    }

    /// Reads `part`, bytes of a tensor, into `to`, which is as long: from the file where they are a view of it, else by copying.
    ///
    /// # Errors
    /// The system's, with the file's name; [`std::io::ErrorKind::UnexpectedEof`] for a file that has become shorter.
    ///
    /// # Panics
    /// Where the lengths differ.
    pub fn read(&self, part: &[u8], to: &mut [u8]) -> std::io::Result<()> {
        self.files.iter().find_map(|file| file.read(part, to)).unwrap_or_else(|| {
            to.copy_from_slice(part);
            Ok(())
        })
    }

    /// Says that a tensor's mapped pages will not be read again, so that they stop counting as this process's memory.
    pub fn release(&self, name: &str) {
        if let Some((file, info)) = self.tensors.get(name)
            && let Some(file) = self.files.get(*file)
        {
            file.release(info.storage_start as usize, info.storage_len as usize);
        }
    }

    /// Shows the bytes of a tensor, row-major, some megabytes at a time, read by system calls: memory does not grow with the tensor,
    /// unless it is stored strided, and a file that was truncated is an error.
    ///
    /// # Errors
    /// [`CheckpointError::MissingTensor`]; [`CheckpointError::Read`]; and what `piece` returns.
    pub fn for_each_piece<E: From<CheckpointError>>(
        &self,
        name: &str,
        piece: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let missing =
            || CheckpointError::MissingTensor { name: name.to_owned(), folder: self.folder.clone() };
        let (file, info) = self.tensors.get(name).ok_or_else(missing)?;
        info.for_each_piece(self.files.get(*file).ok_or_else(missing)?, piece)
    }

    fn probe_quantization(&self) -> Result<Option<Quantization>, CheckpointError> {
        let (Ok(qweight), Ok(scales)) =
            (self.tensor(&format!("{PROBE}.qweight")), self.tensor(&format!("{PROBE}.scales")))
        else {
            return Ok(None);
        };
        let in_features = self.config.hidden_size;
        let bits = linear::bits_of(&qweight, in_features)?;
        let groups = scales.shape.first().copied().unwrap_or(0);
        let group_size = linear::group_size(self.config.groupsize, groups, in_features);
        let Some(group_size) = group_size else {
            return Err(CheckpointError::GroupSize {
                name: scales.name,
                file: scales.file,
                groups,
                in_features,
            });
        };
        // The first layer tells for all. Groups in order never fall from one input to the next, whatever their size.
        let mut act_order = false;
        let first_layer = |name: &&String| name.starts_with("transformer.h.0.") && name.ends_with(".g_idx");
        for name in self.tensors.keys().filter(first_layer) {
            act_order |= !self.tensor(name)?.to_i32()?.is_sorted();
        }
        Ok(Some(Quantization { bits, group_size, act_order }))
    }

    fn collect_warnings(&mut self) {
        if let (Some(found), Some(wbits)) = (self.quantization, self.config.wbits)
            && i64::from(found.bits) != wbits
        {
            self.warnings.push(Warning::BitWidth { config: wbits, tensors: found.bits });
        }
        let stored = self.tensors.get("transformer.wte.weight").map(|(_, info)| info.dtype);
        // An unquantised checkpoint says 16 or 32 there, whatever its weights' type.
        if let (None, Some(stored), Some(wbits @ 2..=8)) = (self.quantization, stored, self.config.wbits) {
            self.warnings.push(Warning::BitWidth { config: wbits, tensors: 8 * stored.bytes() as u32 });
        }
        if let (Some(stored), Some(said)) = (stored, self.config.torch_dtype.as_deref())
            && said != torch_name(stored)
        {
            let (config, tensors) = (said.to_owned(), torch_name(stored).to_owned());
            self.warnings.push(Warning::TorchDtype { config, tensors });
        }
        let unknown: Vec<_> = self.tensors.keys().filter(|name| !is_known(name)).collect();
        if let Some(first) = unknown.first() {
            self.warnings.push(Warning::UnknownTensors { count: unknown.len(), first: first.to_string() });
        }
    }
}

pub(crate) fn read_header(file: &MappedFile) -> Result<Vec<TensorInfo>, CheckpointError> {
    if let Some(found) = files::text_in_place_of_weights(file.bytes()) {
        return Err(CheckpointError::NotWeights { file: file.path().to_owned(), found });
    }
    match file.path().extension().is_some_and(|extension| extension == "safetensors") {
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

/// Names that MOSS checkpoints have, buffers that are not read included.
fn is_known(name: &str) -> bool {
    let in_layer = |rest: &str| {
        let Some((layer, tail)) = rest.split_once('.') else { return false };
        let Some((part, tail)) = tail.split_once('.') else { return false };
        layer.bytes().all(|byte| byte.is_ascii_digit())
            && match part {
                "ln_1" => matches!(tail, "weight" | "bias"),
                "attn" => {
                    matches!(tail, "causal_mask" | "bias" | "masked_bias")
                        || is_linear(tail, &["qkv_proj", "out_proj"])
                }
                "mlp" => is_linear(tail, &["fc_in", "fc_out"]),
                _ => false,
            }
    };
    matches!(
        name,
        "transformer.wte.weight"
            | "transformer.ln_f.weight"
            | "transformer.ln_f.bias"
            | "lm_head.weight"
            | "lm_head.bias"
    ) || name.strip_prefix("transformer.h.").is_some_and(in_layer)
}

fn is_linear(tail: &str, stems: &[&str]) -> bool {
    tail.split_once('.').is_some_and(|(stem, kind)| {
        stems.contains(&stem) && matches!(kind, "weight" | "bias" | "qweight" | "qzeros" | "scales" | "g_idx")
    })
}
