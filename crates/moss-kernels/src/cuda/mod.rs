//! Kernels for NVIDIA GPUs: bindings of `kernels/*.cu`, on one stream a [`Gpu`].
//!
//! Three floors: `launch` calls the driver; one file a kernel family checks every extent and proves its launch; `moss-model` strings
//! them together. Device memory is a [`Buffer`]; a shared reference is enough to write one, since all work on it is in the order of
//! its stream.

#![allow(unsafe_code)] // launches and addresses; each block carries its proof

mod args;
mod attention;
mod buffer;
mod copy_runs;
mod device;
mod elementwise;
mod gemm;
mod graph;
mod images;
mod launch;
mod linear;
mod link;
mod matmul_packed;
mod measure;
pub mod parity;
mod pinned;
mod repack;
mod reserved;
mod rig;
mod sample_cut;
mod tensors;
pub mod timing;
mod upload;
mod weights;

pub use attention::{DecodeRows, DecodeScratch, KvBlocks, PREFILL_TILE, PrefillTiles};
pub use buffer::{Buffer, View};
pub use copy_runs::CopyRun;
pub use device::{Gpu, GpuCode, GpuInfo, gpu_count, list_gpus};
pub use elementwise::{HeadLayout, HeadTargets, NormWeights, RopeOnGpu};
pub use gemm::{PANEL_VALUES, Product, ProductScratch};
pub use graph::{Graph, Recorder};
pub use linear::{FEW_ROWS, LinearInput, LinearPair, Watch};
pub use link::{Link, LinkWay};
pub use pinned::Pinned;
pub use sample_cut::{CutRow, SampleCut};
pub use upload::{Read, Uploader};
pub use weights::GpuLinear;

use candle_core::cuda_backend::{
    CudaError,
    cudarc::{
        cublas::{result::CublasError, sys::cublasStatus_t},
        driver::{DriverError, sys::CUresult},
    },
};

use crate::KernelError;

/// Names what was being done when the driver said no.
trait During<T> {
    fn during(self, what: &'static str) -> Result<T, KernelError>;
}

impl<T> During<T> for Result<T, DriverError> {
    fn during(self, what: &'static str) -> Result<T, KernelError> {
        self.map_err(|error| of_driver(error, what))
    }
}

impl<T> During<T> for Result<T, CublasError> {
    fn during(self, what: &'static str) -> Result<T, KernelError> {
        self.map_err(|error| of_cublas(error, what))
    }
}

impl<T> During<T> for candle_core::Result<T> {
    fn during(self, what: &'static str) -> Result<T, KernelError> {
        self.map_err(|mut error| {
            while let candle_core::Error::WithBacktrace { inner, .. } = error {
                error = *inner; // the backtrace is for candle's own developers
            }
            let candle_core::Error::Cuda(cause) = &error else { return error.into() };
            match cause.downcast_ref() {
                Some(CudaError::Cuda(error)) => of_driver(*error, what),
                Some(CudaError::Cublas(error)) => of_cublas(*error, what),
                _ => KernelError::Driver { what, code: 0, message: cause.to_string() },
            }
        })
    }
}

fn of_driver(error: DriverError, what: &'static str) -> KernelError {
    let message = match (error.error_name(), error.error_string()) {
        (Ok(name), Ok(text)) => format!("{} ({})", text.to_string_lossy(), name.to_string_lossy()),
        _ => format!("{error:?}"),
    };
    KernelError::Driver { what, code: error.0 as u32, message }
}

fn of_cublas(error: CublasError, what: &'static str) -> KernelError {
    // cuBLAS has its own numbers, of which one means what the driver has a number for.
    let code = match error.0 {
        cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED => CUresult::CUDA_ERROR_OUT_OF_MEMORY as u32,
        _ => 0,
    };
    KernelError::Driver { what, code, message: format!("{:?}", error.0) }
}

/// Refuses a value outside an op's contract.
fn rule(
    op: &'static str,
    arg: &'static str,
    found: usize,
    ok: bool,
    rule: impl Into<String>,
) -> Result<(), KernelError> {
    match ok {
        true => Ok(()),
        false => Err(KernelError::Argument { op, arg, found, rule: rule.into() }),
    }
}

/// A count as kernels take it.
fn count(op: &'static str, arg: &'static str, n: usize) -> Result<u32, KernelError> {
    u32::try_from(n).map_err(|_| KernelError::Argument { op, arg, found: n, rule: "below 2^32".into() })
}
