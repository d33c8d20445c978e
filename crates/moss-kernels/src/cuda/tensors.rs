//! A GPU for candle's own operations.

use candle_core::{
    Device, Error,
    cuda_backend::{
        CudaError,
        cudarc::{cublas::sys::cublasStatus_t, driver::sys::CUresult},
    },
};

use super::Gpu;
use crate::KernelError;

impl Gpu {
    /// candle's handle of this card. What its tensors are asked for runs on this one's stream, in that order.
    pub fn tensors(&self) -> Device {
        Device::Cuda(self.device.clone())
    }

    /// Whether `error` says that a card is full, which candle does with an error of the driver or of cuBLAS.
    pub fn is_out_of_memory(error: &KernelError) -> bool {
        match error {
            KernelError::OutOfMemory { .. } => true,
            KernelError::Tensor(error) => of_memory(error),
            _ => false,
        }
    }
}

fn of_memory(error: &Error) -> bool {
    match error {
        Error::WithBacktrace { inner, .. } | Error::Context { inner, .. } => of_memory(inner),
        Error::Cuda(cause) => match cause.downcast_ref() {
            Some(CudaError::Cuda(error)) => error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY,
            Some(CudaError::Cublas(error)) => error.0 == cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED,
            _ => false,
        },
        _ => false,
    }
}
