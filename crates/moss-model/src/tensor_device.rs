//! Where candle's tensors are computed with, for work that is no forward pass of a whole model.

use candle_core::Device;
use moss_kernels::KernelError;

use crate::{DeviceSpec, ModelError, gpu::OpenGpu};

/// Host memory and the CPU, or one card with a stream of its own.
#[derive(Debug)]
pub struct TensorDevice {
    spec: DeviceSpec,
    device: Device,
    gpu: Option<OpenGpu>,
}

impl TensorDevice {
    /// Opens it.
    ///
    /// # Errors
    /// [`ModelError::Gpu`] for a card that is not there, or a build without kernels for GPUs.
    pub fn open(spec: DeviceSpec) -> Result<Self, ModelError> {
        let gpu = match spec {
            DeviceSpec::Cpu => None,
            DeviceSpec::Gpu { ordinal, newest_code } => Some(OpenGpu::new(ordinal, newest_code)?),
        };
        let device = gpu.as_ref().map_or(Device::Cpu, OpenGpu::tensors);
        Ok(Self { spec, device, gpu })
    }

    /// What was opened.
    pub fn spec(&self) -> DeviceSpec {
        self.spec
    }

    /// candle's handle: tensors of this one work with each other.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Where `error` says that the card is full: bytes that were free when it was opened, and its bytes in all.
    pub fn out_of_memory(&self, error: &KernelError) -> Option<(u64, u64)> {
        self.gpu.as_ref().and_then(|gpu| gpu.out_of_memory(error))
    }
}
