//! Compiles `kernels/*.cu` where the feature `cuda` is on: machine code for three architectures, and PTX that any newer card's
//! driver can translate. Writes a table of them for `src/cuda/images.rs`.

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

/// What is compiled from each file: nvcc's flags and the file's ending.
const TARGETS: [(&str, &str); 4] = [
    ("-arch=sm_75 -cubin", "sm_75.cubin"),
    ("-arch=sm_80 -cubin", "sm_80.cubin"),
    ("-arch=sm_90a -cubin", "sm_90.cubin"), // with what this generation alone has,
    ("-arch=compute_75 -ptx", "compute_75.ptx"),
];

/// The oldest toolkit whose PTX and C++ the kernels keep to.
const OLDEST: (u32, u32) = (12, 2);

fn main() -> Result<(), Box<dyn Error>> {
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return Ok(());
    }
    let kernels = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../kernels").canonicalize()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Relative, so that another checkout on the same target folder asks for its own.
    println!("cargo::rerun-if-changed=../../kernels");
    for variable in ["CUDA_HOME", "CUDA_PATH", "NVCC", "PATH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let nvcc = find_nvcc();
    let version = version_of(&nvcc)?;
    if version < OLDEST {
        return Err(format!(
            "`{}` is of CUDA {}.{}; the kernels need {}.{} or newer",
            nvcc.display(),
            version.0,
            version.1,
            OLDEST.0,
            OLDEST.1
        )
        .into());
    }
    println!("cargo::rustc-env=MOSS_CUDA_VERSION={}", version.0 * 1000 + version.1 * 10);
    let mut stems: Vec<String> = Vec::new();
    for entry in fs::read_dir(&kernels)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "cu") {
            stems.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    stems.sort();
    compile(&nvcc, &kernels, &out, &stems)?;
    fs::write(out.join("images.rs"), table(&out, &stems)?)?;
    Ok(())
}

/// nvcc by `NVCC`, `CUDA_HOME`, `CUDA_PATH`, then `PATH`.
fn find_nvcc() -> PathBuf {
    if let Some(nvcc) = env::var_os("NVCC") {
        return nvcc.into();
    }
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os);
    let found = homes.map(|home| Path::new(&home).join("bin/nvcc")).find(|nvcc| nvcc.exists());
    found.unwrap_or_else(|| "nvcc".into())
}

fn version_of(nvcc: &Path) -> Result<(u32, u32), Box<dyn Error>> {
    let output = Command::new(nvcc).arg("--version").output().map_err(|error| {
        format!(
            "cannot run `{}`: {error}\nhint: the feature `cuda` needs NVIDIA's nvcc: put it on PATH, set CUDA_HOME, or set a toolkit up with `eval \"$(scripts/cuda-toolkit)\"`",
            nvcc.display()
        )
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split("release ").nth(1).and_then(|rest| {
        let (major, rest) = rest.split_once('.')?;
        let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    version.ok_or_else(|| format!("cannot read a version in what `{} --version` says", nvcc.display()).into())
}

/// Runs nvcc for every file and target, as many at a time as there are cores.
fn compile(nvcc: &Path, kernels: &Path, out: &Path, stems: &[String]) -> Result<(), Box<dyn Error>> {
    let jobs: Vec<_> = stems.iter().flat_map(|stem| TARGETS.map(|target| (stem, target))).collect();
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), String> {
        while let Some((stem, (flags, ending))) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let source = kernels.join(format!("{stem}.cu"));
            let output = Command::new(nvcc)
                .args(["-O3", "-std=c++17", "-lineinfo", "-I"])
                .arg(kernels)
                .args(flags.split(' '))
                .arg("-o")
                .arg(out.join(format!("{stem}.{ending}")))
                .arg(&source)
                .output()
                .map_err(|error| format!("cannot run `{}`: {error}", nvcc.display()))?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(format!("nvcc refuses `{}` ({flags}):\n{said}", source.display()));
            }
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a compiling thread panicked")?)
    })?;
    Ok(())
}

/// `[(stem, [(architecture, machine code)], PTX)]` as Rust source.
fn table(out: &Path, stems: &[String]) -> Result<String, Box<dyn Error>> {
    let mut text = String::from("pub(super) static IMAGES: &[Image] = &[\n");
    for stem in stems {
        let file = |ending: &str| out.join(format!("{stem}.{ending}"));
        writeln!(text, "    Image {{ stem: {stem:?}, cubins: &[")?;
        for architecture in [75u32, 80, 90] {
            writeln!(
                text,
                "        ({architecture}, include_bytes!({:?})),",
                file(&format!("sm_{architecture}.cubin"))
            )?;
        }
        writeln!(text, "    ], ptx: include_str!({:?}) }},", file("compute_75.ptx"))?;
    }
    text.push_str("];\n");
    Ok(text)
}
