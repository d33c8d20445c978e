//! Folders outside the search path of the dynamic loader that may contain cuBLAS: CUDA toolkits and
//! Python packages.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Registers the folders in which the CUDA kernels search for cuBLAS.
pub(crate) fn register() {
    if moss::cuda::COMPILED {
        moss::cuda::set_library_folders(folders(&|name| std::env::var_os(name)));
    }
}

/// Returns existing folders in search order: toolkits named by environment variables, installed
/// toolkits, then Python environments (the active one, those of `PATH`, the user's, the system's).
fn folders(variable: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let path_of = |name: &str| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let named = ["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT"]
        .into_iter()
        .filter_map(path_of);
    let installed = [PathBuf::from("/usr/local/cuda"), PathBuf::from("/opt/cuda")];
    let versions = matching(Path::new("/usr/local"), "cuda-");
    let toolkits = named.chain(installed).chain(versions);
    let libraries =
        |root: PathBuf| ["lib64", "lib", "targets/x86_64-linux/lib"].map(|tail| root.join(tail));

    let own_cache =
        path_of("MOSS_CUDA_DIR").or_else(|| Some(path_of("HOME")?.join(".cache/moss-cuda")));
    let active = ["VIRTUAL_ENV", "CONDA_PREFIX"]
        .into_iter()
        .filter_map(path_of);
    let on_path = variable("PATH")
        .map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .unwrap_or_default();
    let on_path = on_path
        .into_iter()
        .filter_map(|bin| Some(bin.parent()?.to_owned()));
    let user = path_of("HOME").map(|home| home.join(".local"));
    let system = [PathBuf::from("/usr/local"), PathBuf::from("/usr")];
    let environments = active
        .chain(on_path)
        .chain(user)
        .chain(system)
        .chain(own_cache);
    let packages = environments.flat_map(|root| {
        let pythons = ["lib", "lib64"]
            .into_iter()
            .flat_map(move |lib| matching(&root.join(lib), "python3"));
        let sites = |python: PathBuf| {
            ["site-packages", "dist-packages"].map(|site| python.join(site).join("nvidia"))
        };
        pythons
            .flat_map(sites)
            .flat_map(|nvidia| matching(&nvidia, ""))
            .map(|package| package.join("lib"))
    });

    let mut folders: Vec<PathBuf> = Vec::new();
    for folder in toolkits.flat_map(libraries).chain(packages) {
        if folder.is_dir() && !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

/// Returns the entries of a folder whose names begin with `prefix`, in descending order of names,
/// so that newer versions usually come first.
fn matching(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let begins = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(begins)
        .collect();
    found.sort();
    found.reverse();
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn toolkits_come_before_the_packages_of_every_python_environment() {
        let root = tempfile::tempdir().unwrap();
        let make = |tail: &str| {
            let folder = root.path().join(tail);
            std::fs::create_dir_all(&folder).unwrap();
            folder
        };
        let toolkit = make("cuda/lib64");
        let cu13 = make("venv/lib/python3.12/site-packages/nvidia/cu13/lib");
        let cublas = make("venv/lib/python3.9/site-packages/nvidia/cublas/lib");
        let other = make("other/lib/python3.11/dist-packages/nvidia/cublas/lib");
        make("other/bin");
        let variable = |name: &str| match name {
            "CUDA_HOME" => Some(root.path().join("cuda").into_os_string()),
            "VIRTUAL_ENV" => Some(root.path().join("venv").into_os_string()),
            "PATH" => Some(root.path().join("other/bin").into_os_string()),
            "CUDA_PATH" => Some(OsString::new()),
            _ => None,
        };
        let found = folders(&variable);
        let at = |folder: &PathBuf| found.iter().position(|other| other == folder).unwrap();
        assert!(at(&toolkit) < at(&cublas) && at(&cublas) < at(&other) && at(&cu13) < at(&other));
        assert!(found.iter().all(|folder| folder.is_dir()));
    }
}
