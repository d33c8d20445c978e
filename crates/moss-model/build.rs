//! Sets `MOSS_MODEL_CODE`, a digest of the code that computes the KV cache on a CPU, and calls the
//! kernels of a GPU. Cache blocks of another process are used only if it is the same.

use std::{
    env,
    error::Error,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

/// Sources and versions, relative to this crate. The kernels of GPUs have a digest in `moss-cuda`.
const CODE: [&str; 5] = [
    "src",
    "../moss-cpu/src",
    "../moss-cuda/src",
    "../moss-weights/src",
    "../../Cargo.lock",
];

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let mut hasher = DefaultHasher::new();
    for variable in ["CARGO_PKG_VERSION", "TARGET", "PROFILE"] {
        env::var(variable)?.hash(&mut hasher);
    }
    for path in CODE {
        println!("cargo::rerun-if-changed={path}");
        add(&here.join(path), &mut hasher)?;
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=MOSS_MODEL_CODE={:016x}", hasher.finish());
    Ok(())
}

/// Adds the content of a file, or of the files of a folder in the order of their names. A path that
/// does not exist, as in a package without its workspace, adds nothing.
fn add(path: &Path, hasher: &mut DefaultHasher) -> Result<(), Box<dyn Error>> {
    if path.is_file() {
        fs::read(path)?.hash(hasher);
    } else if path.is_dir() {
        let entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
        let mut paths: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
        paths.sort();
        for path in paths {
            path.file_name().hash(hasher);
            add(&path, hasher)?;
        }
    }
    Ok(())
}
