//! Writes small checkpoints in `torch.save`'s layout, so that tests can have what no published file
//! has.
#![allow(dead_code)] // every test file uses its own part

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use moss_checkpoint::{Checkpoint, DType};
use safetensors::{Dtype, tensor::TensorView};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// A folder of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(name)
}

/// A copy of a fixture's checkpoint files, to be damaged.
pub(crate) fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        if !path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("expected")
        {
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    folder
}

/// A tensor to be written: a window into a storage.
pub(crate) struct Saved<'a> {
    pub(crate) name: &'a str,
    /// "Half", "Bool", …: PyTorch's word before "Storage".
    pub(crate) kind: &'a str,
    /// Which storage of the file.
    pub(crate) storage: u8,
    pub(crate) offset: i64,
    pub(crate) shape: &'a [i64],
    pub(crate) strides: &'a [i64],
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
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

/// The pickle of a state dict, as protocol 2 has it: `OrderedDict()` and
/// `_rebuild_tensor_v2(storage, …)` a tensor.
pub(crate) fn state_dict(tensors: &[Saved<'_>]) -> Vec<u8> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for tensor in tensors {
        text(&mut out, tensor.name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(format!("ctorch\n{}Storage\n", tensor.kind).as_bytes());
        text(&mut out, &tensor.storage.to_string());
        text(&mut out, "cpu");
        long(&mut out, 0); // elements of the storage: the entry's own length is believed
        out.extend(b"tQ");
        long(&mut out, tensor.offset);
        tuple(&mut out, tensor.shape);
        tuple(&mut out, tensor.strides);
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    out
}

/// A `pytorch_model.bin` with this pickle and these storages, beside a fixture's config.json.
pub(crate) fn torch_folder(
    pickle: &[u8],
    storages: &[&[u8]],
    extra: &[(&str, &[u8])],
) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(
        fixture("mini-int8/config.json"),
        folder.path().join("config.json"),
    )
    .unwrap();
    write_torch(
        &folder.path().join("pytorch_model.bin"),
        pickle,
        storages,
        extra,
    );
    folder
}

/// A PyTorch file. Its inner folder has a name of its own, as a renamed file's has.
pub(crate) fn write_torch(file: &Path, pickle: &[u8], storages: &[&[u8]], extra: &[(&str, &[u8])]) {
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

/// Tensors by name, in safetensors' own types.
pub(crate) type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// Every tensor of a checkpoint, whatever its container.
pub(crate) fn tensors_of(folder: &Path) -> Tensors {
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
        (
            info.name.clone(),
            (dtype(info.dtype), info.shape.clone(), tensor.data.to_vec()),
        )
    };
    checkpoint.tensor_infos().map(read).collect()
}

/// Writes one safetensors file.
pub(crate) fn write_safetensors(file: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (
            name.clone(),
            TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
        )
    });
    fs::write(file, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// A fixture as one safetensors file, with its tensors and its config.json changed.
pub(crate) fn changed(
    name: &str,
    tensors: impl FnOnce(&mut Tensors),
    config: impl FnOnce(&mut serde_json::Value),
) -> tempfile::TempDir {
    let (folder, source) = (tempfile::tempdir().unwrap(), fixture(name));
    let mut all = tensors_of(&source);
    tensors(&mut all);
    write_safetensors(&folder.path().join("model.safetensors"), &all);
    let mut json = serde_json::from_slice(&fs::read(source.join("config.json")).unwrap()).unwrap();
    config(&mut json);
    fs::write(folder.path().join("config.json"), json.to_string()).unwrap();
    folder
}

/// A fixture with a `quantization_config` and a `quantize_config.json`.
pub(crate) fn with_file(
    name: &str,
    config: serde_json::Value,
    file: &serde_json::Value,
) -> tempfile::TempDir {
    let folder = copy(name);
    let path = folder.path().join("config.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    json["quantization_config"] = config;
    fs::write(&path, json.to_string()).unwrap();
    fs::write(folder.path().join("quantize_config.json"), file.to_string()).unwrap();
    folder
}
