//! Queries about GPUs and CUDA libraries. Without the feature `cuda` they return
//! [`KernelError::NotCompiled`].

use std::path::PathBuf;

use moss_weights::KernelError;

use crate::gpu_info::GpuInfo;
#[cfg(feature = "cuda")]
use crate::{cublas, driver};

/// Is true in a build with kernels for NVIDIA GPUs.
pub const COMPILED: bool = cfg!(feature = "cuda");

/// Returns the number of GPUs that the driver reports.
///
/// # Errors
/// [`KernelError::NotCompiled`]; [`KernelError::NoDriver`]; [`KernelError::DriverTooOld`];
/// [`KernelError::Driver`] for a driver that cannot be initialized.
pub fn gpu_count() -> Result<usize, KernelError> {
    #[cfg(feature = "cuda")]
    {
        driver::gpu_count()
    }
    #[cfg(not(feature = "cuda"))]
    {
        Err(KernelError::NotCompiled { op: "GPU" })
    }
}

/// Returns the properties of each GPU, and its free memory in bytes. `newest_code` is the newest
/// architecture whose code may run.
///
/// # Errors
/// As for [`gpu_count`].
pub fn list_gpus(newest_code: Option<u32>) -> Result<Vec<(GpuInfo, u64)>, KernelError> {
    #[cfg(feature = "cuda")]
    {
        driver::list_gpus(newest_code)
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = newest_code;
        Err(KernelError::NotCompiled { op: "GPU" })
    }
}

/// Sets the folders that are searched for cuBLAS, in this order, when the dynamic loader does not
/// find it by name. The first call in a process counts. Without the feature `cuda` it does nothing.
pub fn set_library_folders(folders: Vec<PathBuf>) {
    #[cfg(feature = "cuda")]
    cublas::set_library_folders(folders);
    #[cfg(not(feature = "cuda"))]
    drop(folders);
}

/// Loads cuBLAS, unless that was done before.
///
/// # Errors
/// [`KernelError::NotCompiled`]; [`KernelError::NoDriver`]; [`KernelError::LibraryMissing`].
pub fn load_cublas() -> Result<(), KernelError> {
    #[cfg(feature = "cuda")]
    {
        cublas::load_cublas()
    }
    #[cfg(not(feature = "cuda"))]
    {
        Err(KernelError::NotCompiled { op: "cuBLAS" })
    }
}
