//! The demo model: a small MOSS in the binary.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    path::{Path, PathBuf},
};

use moss_lock::FileLock;

use crate::HubError;

/// The name of the demo model.
pub const DEMO_NAME: &str = "moss-demo";

/// The formats of the demo model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DemoFormat {
    /// GPTQ 4 bit in one PyTorch file.
    #[default]
    Int4,
    /// fp16 in two PyTorch shards.
    Fp16,
}

type Files = &'static [(&'static str, &'static [u8])];

macro_rules! files {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../examples/demo/", $folder, "/", $name)))),+]
    };
}

const INT4: Files = files!("moss-demo-int4":
    "config.json", "pytorch_model.bin", "vocab.json", "merges.txt", "added_tokens.json",
    "special_tokens_map.json", "tokenizer_config.json");

const FP16: Files = files!("moss-demo":
    "config.json", "pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin",
    "pytorch_model-00002-of-00002.bin", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json",
    "tokenizer_config.json");

/// Writes the demo model below `cache` unless it exists, and returns its folder. The folder appears
/// when it is complete.
///
/// # Errors
/// [`HubError::Write`].
pub fn unpack_demo(format: DemoFormat, cache: &Path) -> Result<PathBuf, HubError> {
    let (name, files) = match format {
        DemoFormat::Int4 => ("moss-demo-int4", INT4),
        DemoFormat::Fp16 => ("moss-demo", FP16),
    };
    // Another version of the program may contain another model.
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    let parent = cache
        .join("moss-rs")
        .join(format!("demo-{:016x}", hasher.finish()));
    let folder = parent.join(name);
    let is_complete = || {
        files.iter().all(|(name, bytes)| matches!(moss_files::read_bytes(&folder.join(name), bytes.len() as u64), Ok(found) if found == *bytes))
    };
    if is_complete() {
        return Ok(folder);
    }
    let error = |path: &Path| {
        let path = path.to_owned();
        move |source| HubError::Write { path, source }
    };
    fs::create_dir_all(&parent).map_err(error(&parent))?;
    // A process that finds the folder incomplete replaces it, while others may already read it.
    let lock = parent.join(format!("{name}.lock"));
    let _lock = FileLock::acquire(&lock, || ()).map_err(error(&lock))?;
    if is_complete() {
        return Ok(folder); // written by another process meanwhile
    }
    let staging = parent.join(format!(".{name}.unfinished"));
    fs::create_dir_all(&staging).map_err(error(&staging))?;
    for (name, bytes) in files {
        let path = staging.join(name);
        let write = || fs::File::create(&path)?.write_all(bytes);
        write().map_err(error(&path))?;
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(error(&folder))?; // it is incomplete or damaged
    }
    fs::rename(&staging, &folder).map_err(error(&folder))?;
    Ok(folder)
}
