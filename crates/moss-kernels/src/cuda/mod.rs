//! Kernels for NVIDIA GPUs: bindings of `kernels/*.cu`, on one stream a [`Gpu`].
//!
//! Three floors: `launch` calls the driver; one file a kernel family checks every extent and proves
//! its launch; `moss-model` strings them together. Device memory is a [`Buffer`]; a shared
//! reference is enough to write one, since all work on it is in the order of its stream.

#![allow(unsafe_code)] // launches and addresses; each block carries its proof

mod args;
mod attention;
mod buffer;
mod copy_runs;
mod cublas;
mod device;
mod elementwise;
mod f32_ops;
mod fatbin;
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
pub mod timing;
mod upload;
mod weights;

pub use attention::{DecodeRows, DecodeScratch, KvBlocks, PREFILL_TILE, PrefillTiles};
pub use buffer::{Buffer, View};
pub use copy_runs::CopyRun;
pub use cublas::{load_cublas, set_library_folders};
pub use device::{Gpu, GpuCode, GpuInfo, gpu_count, has_driver, list_gpus};
pub use elementwise::{HeadLayout, HeadTargets, NormWeights, RopeOnGpu};
pub use f32_ops::{F32Angles, F32Matrix, F32Part, SplitHeads};
pub use gemm::{PANEL_VALUES, Product, ProductScratch};
pub use graph::{Graph, Recorder};
pub use linear::{FEW_ROWS, LinearInput, LinearPair, Watch};
pub use link::{Link, LinkWay};
pub use pinned::Pinned;
pub use sample_cut::{CutRow, SampleCut};
pub use upload::{Read, Uploader};
pub use weights::GpuLinear;

use cudarc::driver::DriverError;

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

fn of_driver(error: DriverError, what: &'static str) -> KernelError {
    let message = match (error.error_name(), error.error_string()) {
        (Ok(name), Ok(text)) => format!("{} ({})", text.to_string_lossy(), name.to_string_lossy()),
        _ => format!("{error:?}"),
    };
    KernelError::Driver {
        what,
        code: error.0 as u32,
        message,
    }
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
        false => Err(KernelError::Argument {
            op,
            arg,
            found,
            rule: rule.into(),
        }),
    }
}

/// A count as kernels take it.
fn count(op: &'static str, arg: &'static str, n: usize) -> Result<u32, KernelError> {
    u32::try_from(n).map_err(|_| KernelError::Argument {
        op,
        arg,
        found: n,
        rule: "below 2^32".into(),
    })
}
