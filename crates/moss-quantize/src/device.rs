//! The device of GPTQ's matrix products: the CPU, or one GPU.

#[cfg(feature = "cuda")]
use std::sync::Arc;

#[cfg(feature = "cuda")]
use moss_cuda::Gpu;
use moss_model::{DeviceSpec, ModelError};
use moss_weights::KernelError;

/// An open device. Clones share it.
#[derive(Debug, Clone)]
pub(crate) enum Device {
    /// Host memory, and the threads of the current rayon pool.
    Cpu,
    /// One GPU with its stream, and its free bytes when it was opened.
    #[cfg(feature = "cuda")]
    Gpu(Arc<Gpu>, u64),
}

impl Device {
    /// Opens the device and the libraries of its products.
    ///
    /// # Errors
    /// [`ModelError::Gpu`] if the GPU does not exist, a library is missing, or the build has no GPU
    /// kernels.
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
                    gpu.prepare_cublas()?;
                    let free = gpu.free_memory()?;
                    Ok(Self::Gpu(Arc::new(gpu), free))
                };
                open().map_err(ModelError::Gpu)
            }
            #[cfg(not(feature = "cuda"))]
            DeviceSpec::Gpu { .. } => Err(ModelError::Gpu(KernelError::NotCompiled { op: "GPU" })),
        }
    }

    /// If `error` means that the GPU's memory is exhausted, returns the bytes that were free when it
    /// was opened, and its total bytes.
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
