//! The GPUs of this machine.

use moss_cuda::{GpuInfo, KernelError, gpu_count, list_gpus};

use crate::{
    ModelError,
    placement::{Device, DeviceKind},
};

/// True in a build with kernels for NVIDIA GPUs.
pub const CUDA: bool = moss_cuda::COMPILED;

/// Returns true if this machine has a usable GPU: false without an NVIDIA driver, and in a build
/// without GPU kernels.
///
/// # Errors
/// [`ModelError::Gpu`] if the driver does not start or is too old, so that a GPU may exist that it does
/// not report.
pub fn has_gpu() -> Result<bool, ModelError> {
    match gpu_count() {
        Err(KernelError::NoDriver | KernelError::NotCompiled { .. }) => Ok(false),
        count => Ok(count.map_err(ModelError::Gpu)? > 0),
    }
}

/// Lists the GPUs of this machine for a placement.
///
/// # Errors
/// [`ModelError::Gpu`] without a driver, and in a build without GPU kernels.
pub fn machine_gpus() -> Result<Vec<Device>, ModelError> {
    let gpus = list_gpus(None).map_err(ModelError::Gpu)?;
    Ok(gpus
        .iter()
        .map(|(info, free)| describe(info, *free))
        .collect())
}

/// Describes a GPU with `free` bytes of memory for a placement.
pub(crate) fn describe(info: &GpuInfo, free: u64) -> Device {
    Device {
        name: info.name.clone(),
        kind: DeviceKind::Gpu {
            ordinal: info.ordinal,
        },
        free,
        bandwidth: info.bandwidth(),
    }
}
