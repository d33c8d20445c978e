//! Where GPTQ multiplies: the CPU, or one GPU.

#[cfg(feature = "cuda")]
use std::sync::Arc;

#[cfg(feature = "cuda")]
use moss_cuda::Gpu;
use moss_model::{DeviceSpec, ModelError};
use moss_weights::KernelError;

/// An open device. Clones are the same device.
#[derive(Debug, Clone)]
pub(crate) enum Device {
    /// Host memory, and the threads of the current rayon pool.
    Cpu,
    /// One GPU with a stream of its own, and its free memory when it was opened.
    #[cfg(feature = "cuda")]
    Gpu(Arc<Gpu>, u64),
}

impl Device {
    /// Opens the device and what its products need.
    ///
    /// # Errors
    /// [`ModelError::Gpu`] for a GPU that is not there, a library that is missing, or a build
    /// without kernels for GPUs.
    pub(crate) fn open(spec: DeviceSpec) -> Result<Self, ModelError> {
        match spec {
            DeviceSpec::Cpu => Ok(Self::Cpu),
            #[cfg(feature = "cuda")]
            DeviceSpec::Gpu {
                ordinal,
                newest_code,
            } => {
                let open = || {
                    let gpu = Gpu::open(ordinal, newest_code)?;
                    gpu.prepare_matmul(true)?;
                    let free = gpu.free_memory()?;
                    Ok(Self::Gpu(Arc::new(gpu), free))
                };
                open().map_err(ModelError::Gpu)
            }
            #[cfg(not(feature = "cuda"))]
            DeviceSpec::Gpu { .. } => Err(ModelError::Gpu(KernelError::NotCompiled { op: "GPU" })),
        }
    }

    /// When `error` says that the GPU is full: bytes that were free when it was opened, and its
    /// bytes in all.
    pub(crate) fn out_of_memory(&self, error: &KernelError) -> Option<(u64, u64)> {
        if !error.is_out_of_memory() {
            return None;
        }
        match self {
            Self::Cpu => None,
            #[cfg(feature = "cuda")]
            Self::Gpu(gpu, free) => Some((*free, gpu.info().total_memory)),
        }
    }
}
