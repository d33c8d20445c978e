use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

/// Returns a path in the repository.
pub fn repository(path: impl AsRef<Path>) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

/// Returns a file or folder of `tests/fixtures`.
pub fn fixture(name: impl AsRef<Path>) -> PathBuf {
    repository("tests/fixtures").join(name)
}

/// Returns the folder of a demo model: `moss-demo` (fp16) or `moss-demo-int4`.
pub fn demo(model: &str) -> PathBuf {
    repository("examples/demo").join(model)
}

/// Copies the files of a folder, without folders in it.
pub fn copy_files(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.path().is_file() {
            fs::copy(entry.path(), to.as_ref().join(entry.file_name())).unwrap();
        }
    }
}

/// Copies the files of a folder into a new temporary folder.
pub fn copy_of(folder: impl AsRef<Path>) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_files(folder, copy.path());
    copy
}

/// Copies the checkpoint files of a fixture, without its expected values, into a new temporary
/// folder.
pub fn copy_fixture(name: &str) -> TempDir {
    let copy = copy_of(fixture(name));
    for file in file_names(copy.path()) {
        if file.starts_with("expected") {
            fs::remove_file(copy.path().join(file)).unwrap();
        }
    }
    copy
}

/// Returns the names of the entries of a folder, sorted.
pub fn file_names(folder: impl AsRef<Path>) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Reads a JSON file.
pub fn read_json(file: impl AsRef<Path>) -> Value {
    let file = file.as_ref();
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&bytes).unwrap()
}

/// Changes a JSON file in place.
pub fn edit_json(file: impl AsRef<Path>, edit: impl FnOnce(&mut Value)) {
    let mut json = read_json(&file);
    edit(&mut json);
    fs::write(file, json.to_string()).unwrap();
}

/// Returns the token ids in a JSON list.
pub fn ids(list: &Value) -> Vec<u32> {
    let id = |id: &Value| id.as_u64().unwrap().try_into().unwrap();
    list.as_array().unwrap().iter().map(id).collect()
}

/// Encodes text as UTF-16LE without a byte order mark.
pub fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Fills `bytes` with the same pseudo-random bytes in every run; different seeds give different
/// bytes.
pub fn pseudo_random_bytes(seed: &mut u64, bytes: &mut [u8]) {
    for chunk in bytes.chunks_mut(8) {
        *seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let mixed = *seed ^ (*seed >> 29);
        chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
    }
}
