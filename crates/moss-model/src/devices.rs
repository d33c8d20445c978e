//! The GPUs of this machine.

use moss_cuda::{GpuInfo, KernelError, gpu_count, list_gpus};

use crate::{
    DeviceSpec, ModelError,
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

/// Returns the names of the code that computes a model on these devices, each once: the architecture
/// of a GPU's machine code, such as `sm_90`, or the instruction set of the CPU. GPUs that the driver
/// does not report are left out.
pub fn device_code(devices: &[DeviceSpec]) -> Vec<String> {
    let code = |device: &DeviceSpec| match *device {
        DeviceSpec::Cpu => Some(moss_cpu::cpu_features().to_string()),
        DeviceSpec::Gpu {
            ordinal,
            newest_code,
        } => {
            let gpus = list_gpus(newest_code).ok()?;
            let (gpu, _) = gpus.iter().find(|(gpu, _)| gpu.ordinal == ordinal)?;
            Some(gpu.code.to_string())
        }
    };
    let mut names = Vec::new();
    for name in devices.iter().filter_map(code) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
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
