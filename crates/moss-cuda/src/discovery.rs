//! Queries about GPUs and CUDA libraries. They compile without the feature `cuda` too: there are no
//! kernels then, and the queries say so.

use std::path::PathBuf;

use crate::KernelError;
#[cfg(feature = "cuda")]
use crate::{cublas, device};

/// Is true in a build with kernels for NVIDIA GPUs.
pub const COMPILED: bool = cfg!(feature = "cuda");

/// The code that a GPU runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuCode {
    /// Machine code for this architecture (75, 80, 90).
    Machine(u32),
    /// PTX for this architecture, translated by the driver at the first start.
    Ptx(u32),
}

impl std::fmt::Display for GpuCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Machine(architecture) => write!(f, "sm_{architecture}"),
            Self::Ptx(architecture) => write!(f, "compute_{architecture} PTX"),
        }
    }
}

/// Properties of a GPU.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuInfo {
    /// Its number, by its place on the bus, within what `CUDA_VISIBLE_DEVICES` leaves.
    pub ordinal: usize,
    /// Its name.
    pub name: String,
    /// 10 x major + minor.
    pub capability: u32,
    /// The code it gets.
    pub code: GpuCode,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of memory in all.
    pub total_memory: u64,
    /// Bytes of second-level cache.
    pub l2_bytes: u64,
    /// Clock of the multiprocessors in kHz, at most.
    pub clock_khz: u32,
    /// Clock of the memory in kHz, at most.
    pub memory_clock_khz: u32,
    /// Width of the memory bus in bits.
    pub memory_bus_bits: u32,
    /// Whether its memory corrects errors.
    pub ecc: bool,
    /// Where it is on the PCI bus: domain, bus, device.
    pub pci: (u32, u32, u32),
    /// Version of CUDA that the driver offers: 1000 x major + 10 x minor.
    pub driver_cuda: u32,
}

impl GpuInfo {
    /// Bytes a second that its memory gives at its highest clock: twice a clock, over the whole
    /// bus.
    pub fn bandwidth(&self) -> f64 {
        let rate =
            f64::from(self.memory_clock_khz) * 1e3 * 2.0 * f64::from(self.memory_bus_bits) / 8.0;
        if rate > 0.0 { rate } else { 300e9 } // a GPU that does not report it counts as a slow one
    }
}

/// Returns how many GPUs the driver shows.
///
/// # Errors
/// [`KernelError::NotCompiled`]; [`KernelError::NoDriver`]; [`KernelError::DriverTooOld`];
/// [`KernelError::Driver`] for a driver that does not start.
pub fn gpu_count() -> Result<usize, KernelError> {
    #[cfg(feature = "cuda")]
    {
        device::gpu_count()
    }
    #[cfg(not(feature = "cuda"))]
    {
        Err(KernelError::NotCompiled { op: "GPU" })
    }
}

/// Returns the properties of each GPU, and its bytes of free memory. `newest_code` is the newest
/// architecture whose code may run.
///
/// # Errors
/// As for [`gpu_count`].
pub fn list_gpus(newest_code: Option<u32>) -> Result<Vec<(GpuInfo, u64)>, KernelError> {
    #[cfg(feature = "cuda")]
    {
        device::list_gpus(newest_code)
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
