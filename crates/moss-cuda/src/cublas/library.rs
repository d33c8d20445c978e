//! The library: the search for it, and its functions.

use std::{
    error::Error as _,
    ffi::{c_int, c_void},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use libloading::Library;
use moss_weights::KernelError;

use crate::driver::driver_cuda;

/// Major versions with the interface that is declared here, newest first.
const VERSIONS: [u32; 2] = [13, 12];

/// See [`crate::set_library_folders`].
static FOLDERS: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// See [`crate::set_library_folders`].
pub(crate) fn set_library_folders(folders: Vec<PathBuf>) {
    let _ = FOLDERS.set(folders); // a later call changes nothing, as documented
}

/// See [`crate::load_cublas`].
pub(crate) fn load_cublas() -> Result<(), KernelError> {
    Api::get(driver_cuda()?).map(|_| ())
}

pub(super) type Handle = *mut c_void;
pub(super) type Status = c_int;
type GemmEx = unsafe extern "C" fn(
    Handle,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    *const c_void,
    *const c_void,
    c_int,
    c_int,
    *const c_void,
    c_int,
    c_int,
    *const c_void,
    *mut c_void,
    c_int,
    c_int,
    c_int,
    c_int,
) -> Status;

/// The functions of the library, which stays loaded until the process ends.
pub(super) struct Api {
    pub(super) create: unsafe extern "C" fn(*mut Handle) -> Status,
    pub(super) destroy: unsafe extern "C" fn(Handle) -> Status,
    pub(super) set_stream: unsafe extern "C" fn(Handle, *mut c_void) -> Status,
    pub(super) gemm_ex: GemmEx,
    _libraries: Vec<Library>,
}

impl Api {
    /// Loads the library at the first call. `driver_cuda` is the CUDA version of the driver, as in
    /// [`crate::GpuInfo`].
    pub(super) fn get(driver_cuda: u32) -> Result<&'static Self, KernelError> {
        static API: OnceLock<Result<Api, String>> = OnceLock::new();
        let load = || {
            let mut reasons = Vec::new();
            let folders = FOLDERS.get().map_or(&[][..], Vec::as_slice);
            for paths in candidates(driver_cuda / 1000, folders) {
                match Self::open(&paths) {
                    Ok(api) => return Ok(api),
                    Err(reason) => reasons.push(reason),
                }
            }
            Err(reasons.join("; "))
        };
        let missing = |reason: &String| KernelError::LibraryMissing {
            library: "cuBLAS",
            version: (driver_cuda / 1000).min(VERSIONS[0]),
            reason: reason.clone(),
        };
        API.get_or_init(load).as_ref().map_err(missing)
    }

    /// Loads the libraries in order; the last is cuBLAS itself.
    fn open(paths: &[PathBuf]) -> Result<Self, String> {
        // The text of the error is "dlopen failed"; the loader's reason is its source.
        let text = |error: libloading::Error| {
            error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string)
        };
        let mut libraries = Vec::with_capacity(paths.len());
        for path in paths {
            // SAFETY: the names are those of NVIDIA's libraries, in the loader's folders or in
            // those that the program has set. NVIDIA supports that their initializers run on any
            // thread at any time.
            libraries.push(unsafe { Library::new(path) }.map_err(text)?);
        }
        let library = libraries.last().ok_or("no file of that name")?;
        // SAFETY: cublas_api.h of versions 12 and 13, the only ones that `candidates` names,
        // declares these names with these signatures. The pointers are valid as long as the
        // libraries are loaded, which are kept next to them.
        unsafe {
            Ok(Self {
                create: *library.get(b"cublasCreate_v2\0").map_err(text)?,
                destroy: *library.get(b"cublasDestroy_v2\0").map_err(text)?,
                set_stream: *library.get(b"cublasSetStream_v2\0").map_err(text)?,
                gemm_ex: *library.get(b"cublasGemmEx\0").map_err(text)?,
                _libraries: libraries,
            })
        }
    }
}

/// Returns the libraries to try, in this order: cuBLAS by name, then files of `folders`, each after
/// the library that it needs. Versions newer than the driver's do not run on it and are omitted.
fn candidates(driver_major: u32, folders: &[PathBuf]) -> Vec<Vec<PathBuf>> {
    let versions = VERSIONS
        .into_iter()
        .filter(|version| *version <= driver_major);
    let file = |stem: &str, version: u32| format!("lib{stem}.so.{version}");
    let by_name = versions
        .clone()
        .map(|version| vec![PathBuf::from(file("cublas", version))]);
    let in_folder = |folder: &Path| {
        let paths = |version| ["cublasLt", "cublas"].map(|stem| folder.join(file(stem, version)));
        let there = |paths: &[PathBuf; 2]| paths.iter().all(|path| path.is_file());
        versions
            .clone()
            .map(paths)
            .filter(there)
            .map(Vec::from)
            .collect::<Vec<_>>()
    };
    by_name
        .chain(folders.iter().flat_map(|folder| in_folder(folder)))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(candidates: &[Vec<PathBuf>]) -> Vec<String> {
        let last = |paths: &Vec<PathBuf>| paths.last().unwrap().display().to_string();
        candidates.iter().map(last).collect()
    }

    #[test]
    fn a_library_newer_than_the_driver_is_not_tried() {
        assert_eq!(names(&candidates(12, &[])), ["libcublas.so.12"]);
        assert_eq!(
            names(&candidates(13, &[])),
            ["libcublas.so.13", "libcublas.so.12"]
        );
        assert!(candidates(11, &[]).is_empty());
    }

    #[test]
    fn a_folder_is_tried_if_it_has_both_libraries_and_the_needed_one_is_loaded_first() {
        let folder = std::env::temp_dir().join(format!("moss-cublas-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("libcublas.so.12"), b"").unwrap();
        assert_eq!(candidates(12, std::slice::from_ref(&folder)).len(), 1);
        std::fs::write(folder.join("libcublasLt.so.12"), b"").unwrap();
        let found = candidates(12, std::slice::from_ref(&folder));
        assert_eq!(
            found[1],
            [
                folder.join("libcublasLt.so.12"),
                folder.join("libcublas.so.12")
            ]
        );
        // Neither is a library: the loader's own reason is reported.
        assert!(Api::open(&found[1]).is_err_and(|reason| !reason.is_empty()));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
