//! cuBLAS, loaded at run time when a product first needs it.
//!
//! cudarc can load it too, but looks for version 12 and older only, by name alone, and panics when
//! it finds none. Four functions are used; their signatures and enum values are the same in
//! versions 12 and 13 (cublas_api.h).

use std::{
    error::Error as _,
    ffi::{c_int, c_void},
    path::{Path, PathBuf},
    ptr::null_mut,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use cudarc::driver::{CudaStream, sys::CUresult};
use libloading::Library;

use super::During;
use crate::{DriverCall, KernelError, Rule};

/// Major versions whose interface is the one declared here, newest first.
const VERSIONS: [u32; 2] = [13, 12];

/// See [`crate::set_library_folders`].
static FOLDERS: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// See [`crate::set_library_folders`].
pub(crate) fn set_library_folders(folders: Vec<PathBuf>) {
    let _ = FOLDERS.set(folders); // a later call changes nothing, as documented
}

/// See [`crate::load_cublas`].
pub(crate) fn load_cublas() -> Result<(), KernelError> {
    Api::get(super::device::driver_cuda()?).map(|_| ())
}

type Handle = *mut c_void;
type Status = c_int;
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

/// `cudaDataType_t` of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum DataType {
    F32 = 0,
    F16 = 2,
}

impl DataType {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// An operand in device memory, row-major: `stride` values from one row to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operand {
    pub(super) start: *const c_void,
    pub(super) dtype: DataType,
    pub(super) stride: usize,
    /// Whether the product takes its transpose.
    pub(super) transposed: bool,
}

impl Operand {
    /// The same matrix from value `offset` on.
    pub(super) fn at(self, offset: usize) -> Self {
        Self {
            start: self.start.wrapping_byte_add(offset * self.dtype.bytes()),
            ..self
        }
    }
}

/// `y = alpha op(a) op(b) + beta y`, where op(a) is `[m, k]`, op(b) `[k, n]` and y `[m, n]`. Sums
/// are f32.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gemm {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) alpha: f32,
    pub(super) a: Operand,
    pub(super) b: Operand,
    pub(super) beta: f32,
    pub(super) y: *mut c_void,
    pub(super) y_dtype: DataType,
    pub(super) y_stride: usize,
}

/// The functions of the library, which stays loaded until the process ends.
struct Api {
    create: unsafe extern "C" fn(*mut Handle) -> Status,
    destroy: unsafe extern "C" fn(Handle) -> Status,
    set_stream: unsafe extern "C" fn(Handle, *mut c_void) -> Status,
    gemm_ex: GemmEx,
    _libraries: Vec<Library>,
}

impl Api {
    /// Loads the library at the first call; `driver_cuda` is the CUDA version of the driver, as in
    /// [`super::GpuInfo`].
    fn get(driver_cuda: u32) -> Result<&'static Self, KernelError> {
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
        // Its own words are "dlopen failed"; the loader's reason is the source.
        let text = |error: libloading::Error| {
            error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string)
        };
        let mut libraries = Vec::with_capacity(paths.len());
        for path in paths {
            // SAFETY: initialisers of NVIDIA's libraries may run on any thread at any time; the
            // names are theirs, in folders of the system or the caller.
            libraries.push(unsafe { Library::new(path) }.map_err(text)?);
        }
        let library = libraries.last().ok_or("no file of that name")?;
        // SAFETY: cublas_api.h of versions 12 and 13 declares these names with these signatures.
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

/// What to load, in this order: cuBLAS by name, then files of `folders`, each with the library that
/// it needs loaded first. Versions newer than the driver's are left out, since they do not run on
/// it.
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

/// A handle of one stream, made when it is first needed.
pub(super) struct Cublas {
    handle: Mutex<Option<Open>>, // dropped before the stream that it uses
    stream: Arc<CudaStream>,
    driver_cuda: u32,
}

struct Open {
    api: &'static Api,
    handle: Handle,
}

// SAFETY: a handle may be used from any thread, by one at a time, which the mutex around it
// ensures.
unsafe impl Send for Open {}

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: the library gave the handle, and nothing uses it after this.
        let _ = unsafe { (self.api.destroy)(self.handle) };
    }
}

impl Drop for Cublas {
    fn drop(&mut self) {
        // The handle, which is dropped next, is destroyed in its own context. A context that is
        // lost has nothing to free.
        let _ = self.stream.context().bind_to_thread();
    }
}

impl Cublas {
    pub(super) fn new(stream: Arc<CudaStream>, driver_cuda: u32) -> Self {
        Self {
            stream,
            driver_cuda,
            handle: Mutex::new(None),
        }
    }

    /// Loads the library and makes the handle, unless that was done before.
    pub(super) fn prepare(&self) -> Result<(), KernelError> {
        self.with_handle(|_| 0, DriverCall::PrepareCublas)
    }

    /// Puts a product on the stream.
    ///
    /// # Safety
    /// Every element of the three matrices is in device memory that is only used in the order of
    /// this stream's order.
    pub(super) unsafe fn gemm(&self, op: &'static str, gemm: &Gemm) -> Result<(), KernelError> {
        let int = |arg, n: usize| {
            i32::try_from(n).map_err(|_| KernelError::Argument {
                op,
                arg,
                found: n,
                rule: Rule::Below(1 << 31),
            })
        };
        // cuBLAS counts in columns: it computes y^T = op(b)^T op(a)^T, and a row-major matrix is
        // its own transpose there.
        let (m, n, k) = (
            int("columns", gemm.n)?,
            int("rows", gemm.m)?,
            int("inner extent", gemm.k)?,
        );
        let [ldb, lda] = [
            int("stride of b", gemm.b.stride)?,
            int("stride of a", gemm.a.stride)?,
        ];
        let ldy = int("output stride", gemm.y_stride)?;
        const COMPUTE_32F: c_int = 68;
        const DEFAULT_ALGORITHM: c_int = -1;
        let run = |open: &Open| {
            // SAFETY: the caller's promise; alpha and beta are locals that outlive the call, which
            // copies them.
            unsafe {
                (open.api.gemm_ex)(
                    open.handle,
                    c_int::from(gemm.b.transposed),
                    c_int::from(gemm.a.transposed),
                    m,
                    n,
                    k,
                    (&raw const gemm.alpha).cast(),
                    gemm.b.start,
                    gemm.b.dtype as c_int,
                    ldb,
                    gemm.a.start,
                    gemm.a.dtype as c_int,
                    lda,
                    (&raw const gemm.beta).cast(),
                    gemm.y,
                    gemm.y_dtype as c_int,
                    ldy,
                    COMPUTE_32F,
                    DEFAULT_ALGORITHM,
                )
            }
        };
        self.with_handle(run, DriverCall::Gemm)
    }

    fn with_handle(
        &self,
        run: impl FnOnce(&Open) -> Status,
        what: DriverCall,
    ) -> Result<(), KernelError> {
        self.stream.context().bind_to_thread().during(what)?;
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match handle.take() {
            Some(open) => open,
            None => self.open()?,
        };
        let status = run(handle.insert(open));
        check(status, what)
    }

    fn open(&self) -> Result<Open, KernelError> {
        const WHAT: DriverCall = DriverCall::PrepareCublas;
        let api = Api::get(self.driver_cuda)?;
        let mut handle = null_mut();
        // SAFETY: the pointer is to a local that outlives the call; the context is current.
        check(unsafe { (api.create)(&mut handle) }, WHAT)?;
        let open = Open { api, handle };
        let stream = self.stream.cu_stream().cast();
        // SAFETY: handle and stream are of the current context.
        check(unsafe { (api.set_stream)(handle, stream) }, WHAT)?;
        Ok(open)
    }
}

/// Names a status of cublas_api.h.
fn check(status: Status, what: DriverCall) -> Result<(), KernelError> {
    let (name, code) = match status {
        0 => return Ok(()),
        1 => ("CUBLAS_STATUS_NOT_INITIALIZED", 0),
        3 => (
            "CUBLAS_STATUS_ALLOC_FAILED",
            CUresult::CUDA_ERROR_OUT_OF_MEMORY as u32,
        ),
        7 => ("CUBLAS_STATUS_INVALID_VALUE", 0),
        8 => ("CUBLAS_STATUS_ARCH_MISMATCH", 0),
        11 => ("CUBLAS_STATUS_MAPPING_ERROR", 0),
        13 => ("CUBLAS_STATUS_EXECUTION_FAILED", 0),
        14 => ("CUBLAS_STATUS_INTERNAL_ERROR", 0),
        15 => ("CUBLAS_STATUS_NOT_SUPPORTED", 0),
        _ => ("cuBLAS status", 0),
    };
    Err(KernelError::Driver {
        what,
        code,
        message: format!("{name} ({status})"),
    })
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
    fn a_library_newer_than_the_driver_is_no_candidate() {
        assert_eq!(names(&candidates(12, &[])), ["libcublas.so.12"]);
        assert_eq!(
            names(&candidates(13, &[])),
            ["libcublas.so.13", "libcublas.so.12"]
        );
        assert!(candidates(11, &[]).is_empty());
    }

    #[test]
    fn a_folder_counts_only_with_both_libraries_and_loads_the_needed_one_first() {
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
