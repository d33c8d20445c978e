//! Small checkpoints in both containers, for layouts that no published file has.

use std::{collections::BTreeMap, fs, io::Write, path::Path};

use moss_checkpoint::{Checkpoint, DType};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;
use tempfile::TempDir;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{copy_fixture, edit_json, fixture, read_json};

/// A tensor of a PyTorch file: a view of a storage.
pub struct Saved<'a> {
    /// The name in the state dict.
    pub name: &'a str,
    /// "Half", "Bool" and so on: PyTorch's word before "Storage".
    pub kind: &'a str,
    /// The index of its storage in the file.
    pub storage: u8,
    /// The first element, counted in the storage.
    pub offset: i64,
    /// The extents.
    pub shape: &'a [i64],
    /// The strides, in elements.
    pub strides: &'a [i64],
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    out.extend(text.as_bytes());
}

fn long(out: &mut Vec<u8>, value: i64) {
    out.extend([0x8a, 8]);
    out.extend(value.to_le_bytes());
}

fn tuple(out: &mut Vec<u8>, values: &[i64]) {
    out.push(b'(');
    values.iter().for_each(|value| long(out, *value));
    out.push(b't');
}

/// Returns the pickle of a state dict in protocol 2: an `OrderedDict()` with one
/// `_rebuild_tensor_v2(storage, …)` per tensor.
pub fn state_dict(tensors: &[Saved<'_>]) -> Vec<u8> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for tensor in tensors {
        text(&mut out, tensor.name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(format!("ctorch\n{}Storage\n", tensor.kind).as_bytes());
        text(&mut out, &tensor.storage.to_string());
        text(&mut out, "cpu");
        long(&mut out, 0); // elements of the storage: readers use the length of the entry
        out.extend(b"tQ");
        long(&mut out, tensor.offset);
        tuple(&mut out, tensor.shape);
        tuple(&mut out, tensor.strides);
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    out
}

/// Writes a folder with `pytorch_model.bin`, made of a pickle, storages and further entries, and
/// the `config.json` of a fixture.
pub fn torch_folder(pickle: &[u8], storages: &[&[u8]], extra: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    fs::copy(fixture("mini-int8/config.json"), config).unwrap();
    let weights = folder.path().join("pytorch_model.bin");
    write_torch(&weights, pickle, storages, extra);
    folder
}

/// Writes a PyTorch file. The folder in the archive has another name than the file, as in a file
/// that was renamed.
pub fn write_torch(file: &Path, pickle: &[u8], storages: &[&[u8]], extra: &[(&str, &[u8])]) {
    let mut zip = ZipWriter::new(fs::File::create(file).unwrap());
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut entry = |name: &str, bytes: &[u8]| {
        zip.start_file(format!("存档/{name}"), stored).unwrap();
        zip.write_all(bytes).unwrap();
    };
    entry("data.pkl", pickle);
    for (key, bytes) in storages.iter().enumerate() {
        entry(&format!("data/{key}"), bytes);
    }
    extra.iter().for_each(|(name, bytes)| entry(name, bytes));
    zip.finish().unwrap();
}

/// Tensors by name: type, shape and bytes.
pub type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// Reads every tensor of a checkpoint, in either container.
pub fn tensors_of(folder: &Path) -> Tensors {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let dtype = |dtype| match dtype {
        DType::Bool => Dtype::BOOL,
        DType::U8 => Dtype::U8,
        DType::I32 => Dtype::I32,
        DType::F16 => Dtype::F16,
        DType::F32 => Dtype::F32,
        other => panic!("{other}"),
    };
    let read = |info: &moss_checkpoint::TensorInfo| {
        let tensor = checkpoint.tensor(&info.name).unwrap();
        let bytes = tensor.data.to_vec();
        (
            info.name.clone(),
            (dtype(info.dtype), info.shape.clone(), bytes),
        )
    };
    checkpoint.tensor_infos().map(read).collect()
}

/// Writes one safetensors file.
pub fn write_safetensors(file: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        let view = TensorView::new(*dtype, shape.clone(), bytes).unwrap();
        (name.clone(), view)
    });
    fs::write(file, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Writes a folder with `model.safetensors` and `config.json`.
pub fn safetensors_folder(tensors: &Tensors, config: &Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_safetensors(&folder.path().join("model.safetensors"), tensors);
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    folder
}

/// Writes a fixture as one safetensors file, with its tensors and its `config.json` changed.
pub fn changed(
    name: &str,
    tensors: impl FnOnce(&mut Tensors),
    config: impl FnOnce(&mut Value),
) -> TempDir {
    let source = fixture(name);
    let (mut all, mut json) = (tensors_of(&source), read_json(source.join("config.json")));
    tensors(&mut all);
    config(&mut json);
    safetensors_folder(&all, &json)
}

/// Copies a fixture, with this `quantization_config` in `config.json` and this
/// `quantize_config.json`.
pub fn with_quantize_config(name: &str, config: Value, file: &Value) -> TempDir {
    let folder = copy_fixture(name);
    edit_json(folder.path().join("config.json"), |json| {
        json["quantization_config"] = config;
    });
    let path = folder.path().join("quantize_config.json");
    fs::write(path, file.to_string()).unwrap();
    folder
}
