//! The GPUs of this machine.

use moss_cuda::{GpuInfo, KernelError, gpu_count, list_gpus};

use crate::{
    ModelError,
    placement::{Card, CardKind},
};

/// Is true in a build with kernels for NVIDIA GPUs.
pub const CUDA: bool = moss_cuda::COMPILED;

/// Returns whether this machine has a GPU to run on. A machine without an NVIDIA driver has none,
/// nor has a build without kernels for GPUs.
///
/// # Errors
/// [`ModelError::Gpu`] for a driver that does not start or is too old: a GPU may be there that it
/// does not show.
pub fn has_gpu() -> Result<bool, ModelError> {
    match gpu_count() {
        Err(KernelError::NoDriver | KernelError::NotCompiled { .. }) => Ok(false),
        count => Ok(count.map_err(ModelError::Gpu)? > 0),
    }
}

/// Lists the GPUs of this machine, as a placement has to know them.
///
/// # Errors
/// [`ModelError::Gpu`] where there is no driver, or a build without kernels for GPUs.
pub fn machine_gpus() -> Result<Vec<Card>, ModelError> {
    let gpus = list_gpus(None).map_err(ModelError::Gpu)?;
    Ok(gpus.iter().map(|(info, free)| card(info, *free)).collect())
}

/// Describes a GPU with `free` bytes of memory for a placement.
pub(crate) fn card(info: &GpuInfo, free: u64) -> Card {
    Card {
        name: info.name.clone(),
        kind: CardKind::Gpu {
            ordinal: info.ordinal,
        },
        free,
        bandwidth: info.bandwidth(),
    }
}
