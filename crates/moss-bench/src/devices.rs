//! Properties of the GPUs, and their memory bandwidth, measured.

use moss_cuda::GpuInfo;
use moss_weights::KernelError;

/// A GPU and its measured bandwidth.
#[derive(Debug)]
pub struct DeviceReport {
    /// Its properties.
    pub info: GpuInfo,
    /// Bytes of free memory.
    pub free: u64,
    /// Bytes per second of a copy within the GPU, or the error of its measurement.
    pub copy_bandwidth: Result<f64, KernelError>,
}

/// Lists the GPUs that the driver reports, and measures the bandwidth of each. `newest_code` is the
/// newest architecture whose code may run.
///
/// # Errors
/// [`KernelError::NotCompiled`]; [`KernelError::NoDriver`]; [`KernelError::DriverTooOld`];
/// [`KernelError::Driver`].
pub fn devices(newest_code: Option<u32>) -> Result<Vec<DeviceReport>, KernelError> {
    #[cfg(feature = "cuda")]
    {
        let report = |(info, free): (GpuInfo, u64)| DeviceReport {
            copy_bandwidth: moss_cuda::Gpu::open(info.ordinal, newest_code)
                .and_then(|gpu| gpu.copy_bandwidth()),
            info,
            free,
        };
        let gpus = moss_cuda::list_gpus(newest_code)?;
        Ok(gpus.into_iter().map(report).collect())
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = newest_code;
        Err(KernelError::NotCompiled { op: "GPU" })
    }
}
