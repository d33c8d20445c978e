//! Provides the compiled kernels to `src/fatbin/mod.rs`: one fat binary for each `kernels/*.cu`,
//! with machine code for three architectures and PTX that newer GPUs' drivers translate.
//!
//! They are compiled by nvcc, or copied from the folder `MOSS_KERNELS`, which
//! `scripts/build-kernels` writes.

#[path = "../src/fatbin/parse.rs"]
#[allow(dead_code)]
mod fatbin;

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use fatbin::FatbinImage;

/// The targets of every fat binary, as nvcc takes them. sm_90a has instructions of that
/// architecture only, such as wgmma.
const TARGETS: [&str; 4] = [
    "arch=compute_75,code=sm_75",
    "arch=compute_80,code=sm_80",
    "arch=compute_90a,code=sm_90a",
    "arch=compute_75,code=compute_75",
];

/// The oldest toolkit that compiles the kernels.
const OLDEST: (u32, u32) = (12, 2);

/// Compiles or finds the kernels, and writes their table.
pub(crate) fn build() -> Result<(), Box<dyn Error>> {
    let kernels = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?)
        .join("../../kernels")
        .canonicalize()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Relative paths, so that each checkout with this target folder depends on its kernels.
    println!("cargo::rerun-if-changed=../../kernels");
    println!("cargo::rerun-if-changed=src/fatbin/parse.rs");
    for variable in ["MOSS_KERNELS", "CUDA_HOME", "CUDA_PATH", "NVCC", "PATH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let stems = stems(&kernels)?;
    let folder = match env::var_os("MOSS_KERNELS").filter(|folder| !folder.is_empty()) {
        Some(folder) => precompiled(&kernels, PathBuf::from(folder))?,
        None => {
            compile(&kernels, &out, &stems)?;
            out.clone()
        }
    };
    fs::write(out.join("fatbins.rs"), table(&folder, &stems)?)?;
    Ok(())
}

/// Returns the names of the kernel files without their ending, sorted.
fn stems(kernels: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut stems: Vec<String> = Vec::new();
    for entry in fs::read_dir(kernels)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "cu") {
            stems.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    stems.sort();
    Ok(stems)
}

/// Checks that the folder was built from these sources: kernels of other sources may take other
/// parameters.
fn precompiled(kernels: &Path, folder: PathBuf) -> Result<PathBuf, Box<dyn Error>> {
    let folder = folder.canonicalize().map_err(|error| {
        format!(
            "MOSS_KERNELS=`{}`: {error}\nhint: `scripts/build-kernels DIR` writes such a folder; use an absolute path",
            folder.display()
        )
    })?;
    println!("cargo::rerun-if-changed={}", folder.display());
    let expected = source_digest(kernels)?;
    let found = fs::read_to_string(folder.join("sources.sha256")).unwrap_or_default();
    if found.trim() != expected {
        return Err(format!(
            "the kernels in `{}` were built from other sources ({}), expected {expected}\nhint: rebuild them with `scripts/build-kernels {}`",
            folder.display(),
            if found.trim().is_empty() { "no sources.sha256" } else { found.trim() },
            folder.display(),
        )
        .into());
    }
    Ok(folder)
}

/// Returns the SHA-256 of all sources, sorted by path: for each, its path, a zero, its length in 8
/// bytes, and its bytes. `scripts/build-kernels` computes the same digest.
fn source_digest(kernels: &Path) -> Result<String, Box<dyn Error>> {
    use sha2::{Digest as _, Sha256};
    let mut files = Vec::new();
    for (prefix, folder) in [
        ("", kernels.to_owned()),
        ("common/", kernels.join("common")),
    ] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|ending| ending == "cu" || ending == "cuh")
            {
                let name = path
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned());
                files.push((format!("{prefix}{}", name.unwrap_or_default()), path));
            }
        }
    }
    files.sort();
    let mut digest = Sha256::new();
    for (name, path) in files {
        let text = fs::read(path)?;
        digest.update(name.as_bytes());
        digest.update([0]);
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(&text);
    }
    let mut text = String::new();
    digest
        .finalize()
        .iter()
        .try_for_each(|byte| write!(text, "{byte:02x}"))?;
    Ok(text)
}

/// Finds nvcc by `NVCC`, `CUDA_HOME`, `CUDA_PATH`, then `PATH`.
fn find_nvcc() -> PathBuf {
    if let Some(nvcc) = env::var_os("NVCC") {
        return nvcc.into();
    }
    let homes = ["CUDA_HOME", "CUDA_PATH"]
        .into_iter()
        .filter_map(env::var_os);
    let found = homes
        .map(|home| Path::new(&home).join("bin/nvcc"))
        .find(|nvcc| nvcc.exists());
    found.unwrap_or_else(|| "nvcc".into())
}

fn version_of(nvcc: &Path) -> Result<(u32, u32), Box<dyn Error>> {
    let output = Command::new(nvcc).arg("--version").output().map_err(|error| {
        format!(
            "cannot run `{}`: {error}\nhint: the feature `cuda` needs NVIDIA's nvcc: put it on PATH, set CUDA_HOME, or build the kernels without it: \
             `scripts/build-kernels DIR`, then `MOSS_KERNELS=DIR cargo build …`",
            nvcc.display()
        )
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split("release ").nth(1).and_then(|rest| {
        let (major, rest) = rest.split_once('.')?;
        let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    version.ok_or_else(|| {
        format!(
            "cannot find a version in the output of `{} --version`",
            nvcc.display()
        )
        .into()
    })
}

/// Runs nvcc for every file, one per core at a time.
fn compile(kernels: &Path, out: &Path, stems: &[String]) -> Result<(), Box<dyn Error>> {
    let nvcc = find_nvcc();
    let version = version_of(&nvcc)?;
    if version < OLDEST {
        return Err(format!(
            "`{}` is version {}.{}, expected {}.{} or newer",
            nvcc.display(),
            version.0,
            version.1,
            OLDEST.0,
            OLDEST.1
        )
        .into());
    }
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), String> {
        while let Some(stem) = stems.get(next.fetch_add(1, Ordering::Relaxed)) {
            let source = kernels.join(format!("{stem}.cu"));
            let output = Command::new(&nvcc)
                .args([
                    "-O3",
                    "-std=c++17",
                    "-lineinfo",
                    "-fatbin",
                    "-no-compress",
                    "-I",
                ])
                .arg(kernels)
                .args(TARGETS.map(|target| format!("-gencode={target}")))
                .arg("-o")
                .arg(out.join(format!("{stem}.fatbin")))
                .arg(&source)
                .output()
                .map_err(|error| format!("cannot run `{}`: {error}", nvcc.display()))?;
            if !output.status.success() {
                let output_text = String::from_utf8_lossy(&output.stderr);
                return Err(format!(
                    "nvcc cannot compile `{}`:\n{output_text}",
                    source.display()
                ));
            }
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a compiling thread panicked")?)
    })?;
    Ok(())
}

/// Returns the first CUDA version whose drivers accept PTX of version `isa` (10 x major + minor),
/// as drivers count: 1000 x major + 10 x minor. PTX 7.x was released with CUDA 11.x, 8.x with 12.x,
/// 9.x with 13.x, with equal minor versions.
fn cuda_version(isa: u32) -> u32 {
    1000 * (isa / 10 + 4) + 10 * (isa % 10)
}

/// Returns the table of fat binaries as Rust source, with the version of the compiler from the PTX.
fn table(folder: &Path, stems: &[String]) -> Result<String, Box<dyn Error>> {
    use sha2::{Digest as _, Sha256};
    let mut text = String::from("pub(super) static IMAGES: &[Image] = &[\n");
    let (mut version, mut digest) = (0, Sha256::new());
    for stem in stems {
        let path = folder.join(format!("{stem}.fatbin"));
        let wrong = |reason: &str| format!("`{}`: {reason}", path.display());
        let bytes = fs::read(&path).map_err(|error| wrong(&error.to_string()))?;
        digest.update(&bytes);
        let images = fatbin::read(&bytes).map_err(|reason| wrong(&reason))?;
        for wanted in [75, 80, 90] {
            let found = |image: &FatbinImage<'_>| matches!(image, FatbinImage::Machine { architecture, .. } if *architecture == wanted);
            if !images.iter().any(found) {
                return Err(wrong(&format!("no machine code for sm_{wanted}")).into());
            }
        }
        let isa = images.iter().find_map(|image| match image {
            FatbinImage::Ptx {
                architecture: 75,
                isa,
                ..
            } => Some(*isa),
            _ => None,
        });
        version = version.max(cuda_version(
            isa.ok_or_else(|| wrong("no PTX for compute_75"))?,
        ));
        writeln!(
            text,
            "    Image {{ stem: {stem:?}, fatbin: include_bytes!({:?}) }},",
            path
        )?;
    }
    writeln!(text, "];\nconst COMPILER_VERSION: u32 = {version};")?;
    let digest: [u8; 32] = digest.finalize().into();
    let [start, ..] = digest.as_chunks::<8>().0 else {
        return Err("a digest has 32 bytes".into());
    };
    let start = u64::from_be_bytes(*start);
    writeln!(text, "const DIGEST: u64 = {start};")?;
    Ok(text)
}
