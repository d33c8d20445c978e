//! CUDA kernels for NVIDIA GPUs: bindings of `kernels/*.cu`, on one stream a `Gpu`.
//!
//! Three layers: `launch` calls the driver; one file a kernel family checks every extent and proves
//! its launch; `moss-model` calls them in order. Device memory is a `Buffer`; a shared reference is
//! enough to write one, since all work on it is in the order of its stream.
//!
//! Without the feature `cuda` the crate has layouts, the input permutation, and queries that answer
//! [`KernelError::NotCompiled`].

#![allow(unsafe_code)] // launches and addresses; each block carries its proof

#[cfg(feature = "cuda")]
mod args;
#[cfg(feature = "cuda")]
mod attention;
#[cfg(feature = "cuda")]
mod batched_memcpy;
#[cfg(feature = "cuda")]
mod buffer;
#[cfg(feature = "cuda")]
mod contract;
#[cfg(feature = "cuda")]
mod cublas;
#[cfg(feature = "cuda")]
mod device;
mod discovery;
#[cfg(feature = "cuda")]
mod elementwise;
#[cfg(feature = "cuda")]
mod f32_ops;
#[cfg(feature = "cuda")]
mod fatbin;
#[cfg(feature = "cuda")]
mod gemm;
#[cfg(feature = "cuda")]
mod graph;
#[cfg(feature = "cuda")]
mod launch;
mod layout;
#[cfg(feature = "cuda")]
mod linear;
#[cfg(feature = "cuda")]
mod matmul_packed;
#[cfg(feature = "cuda")]
mod measure;
#[cfg(feature = "cuda")]
mod p2p;
mod permutation;
#[cfg(feature = "cuda")]
mod pinned;
#[cfg(feature = "cuda")]
mod repack;
#[cfg(feature = "cuda")]
mod top_k;
#[cfg(feature = "cuda")]
mod upload;
#[cfg(feature = "cuda")]
mod virtual_memory;
#[cfg(feature = "cuda")]
mod weights;

pub use discovery::{
    COMPILED, GpuCode, GpuInfo, gpu_count, list_gpus, load_cublas, set_library_folders,
};
pub use layout::{BLOCK, BLOCK_POSITIONS, FEW_ROWS, HeadLayout, PANEL_VALUES, PREFILL_TILE, TILE};
pub use moss_weights::{
    DenseDtype, DenseWeight, DriverCall, GptqBits, GptqWeight, GroupIndex, KernelError,
    LinearWeight, Rule,
};
pub use permutation::{FILL, Places};

#[cfg(feature = "cuda")]
use contract::{During, count, rule};
#[cfg(feature = "cuda")]
pub use {
    attention::{DecodeRows, DecodeScratch, KvBlocks, PrefillTiles},
    batched_memcpy::CopyRun,
    buffer::{Buffer, View},
    device::Gpu,
    elementwise::{HeadTargets, NormWeights, RopeOnGpu},
    f32_ops::{F32Angles, F32Matrix, F32Part, SplitHeads},
    gemm::{Product, ProductScratch},
    graph::{Graph, Recorder},
    linear::{LinearInput, LinearPair, Watch},
    p2p::{Link, LinkWay},
    pinned::Pinned,
    top_k::DeviceTopK,
    upload::{Read, Uploader},
    weights::GpuLinear,
};
