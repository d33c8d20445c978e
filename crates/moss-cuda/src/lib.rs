//! The CUDA runtime of the GPU stages, and the bindings of `kernels/*.cu`.
//!
//! There are three layers. `Gpu`, `Buffer` and the copies call the driver. One file per kernel
//! family checks the arguments of an op and launches it (`launch.rs` has the one launch function).
//! `moss-model` calls the ops in the order of the network.
//!
//! A `Buffer` belongs to the stream of the `Gpu` that allocated it, and every op rejects
//! buffers of another. A shared reference suffices to write a buffer, because all accesses are in
//! stream order.
//!
//! Without the feature `cuda` the crate has layouts, the input permutation, and queries that return
//! [`KernelError::NotCompiled`].

#![allow(unsafe_code)] // calls of the driver; each block has its argument

#[cfg(feature = "cuda")]
mod address;
#[cfg(feature = "cuda")]
mod args;
#[cfg(feature = "cuda")]
mod attention;
#[cfg(feature = "cuda")]
mod attention_prefill;
#[cfg(feature = "cuda")]
mod batched_memcpy;
#[cfg(feature = "cuda")]
mod buffer;
#[cfg(feature = "cuda")]
mod contract;
#[cfg(feature = "cuda")]
mod copy;
#[cfg(feature = "cuda")]
mod cublas;
mod decode_grid;
#[cfg(feature = "cuda")]
mod device;
#[cfg(feature = "cuda")]
mod device_id;
mod discovery;
#[cfg(feature = "cuda")]
mod driver;
#[cfg(feature = "cuda")]
mod elementwise;
#[cfg(feature = "cuda")]
mod f32_ops;
#[cfg(feature = "cuda")]
mod fatbin;
#[cfg(feature = "cuda")]
mod gemm_mma;
#[cfg(feature = "cuda")]
mod gemm_sm90;
#[cfg(feature = "cuda")]
mod gemm_tiles;
#[cfg(feature = "cuda")]
mod gemm_transposed;
mod gpu_info;
#[cfg(feature = "cuda")]
mod graph;
#[cfg(feature = "cuda")]
mod kernels;
#[cfg(feature = "cuda")]
mod kv_blocks;
#[cfg(feature = "cuda")]
mod kv_quantize;
#[cfg(feature = "cuda")]
mod launch;
mod layout;
#[cfg(feature = "cuda")]
mod linear;
#[cfg(feature = "cuda")]
mod linear_args;
#[cfg(feature = "cuda")]
mod linear_persistent;
#[cfg(feature = "cuda")]
mod linear_scratch;
#[cfg(feature = "cuda")]
mod linear_sm90;
#[cfg(feature = "cuda")]
mod measure;
#[cfg(feature = "cuda")]
mod operands;
#[cfg(feature = "cuda")]
mod p2p;
#[cfg(feature = "cuda")]
mod page_locked;
mod permutation;
#[cfg(feature = "cuda")]
mod pinned;
#[cfg(feature = "cuda")]
mod prefill;
#[cfg(feature = "cuda")]
mod qkv_rope_gelu;
#[cfg(feature = "cuda")]
mod repack;
#[cfg(feature = "cuda")]
mod sampling;
#[cfg(feature = "cuda")]
mod shared_memory;
#[cfg(feature = "cuda")]
mod tensor_map;
#[cfg(feature = "cuda")]
mod upload;
#[cfg(feature = "cuda")]
mod virtual_memory;
#[cfg(feature = "cuda")]
mod weights;

pub use decode_grid::decode_scratch_bytes;
pub use discovery::{COMPILED, gpu_count, list_gpus, load_cublas, set_library_folders};
pub use gpu_info::{GpuCode, GpuInfo};
pub use layout::{
    BLOCK, BLOCK_POSITIONS, DECODE_SPLIT, HeadLayout, KvFormat, MAX_DECODE_TOKENS, NO_SLOT,
    SAMPLE_ROW_BYTES, TILE, linear_scratch_bytes,
};
pub use moss_weights::{
    DenseDtype, DenseWeight, DriverCall, GptqBits, GptqWeight, GroupIndex, KernelError,
    LinearWeight, Rule,
};
pub use permutation::{InputPermutation, PADDING, fragment_column};

#[cfg(feature = "cuda")]
pub use {
    attention::{DecodeRows, DecodeScratch},
    attention_prefill::PrefillTiles,
    buffer::{Buffer, View},
    device::Gpu,
    elementwise::NormWeights,
    f32_ops::{F32Angles, F32Matrix, F32Part, SplitHeads},
    gemm_tiles::GemmScratch,
    graph::{Graph, GraphCapture},
    kv_blocks::KvBlocks,
    linear_scratch::{InputOrder, LinearScratch},
    operands::{
        AttentionLaunch, CompleteInput, FcOutInput, LinearInput, LinearPair, NonFiniteCheck,
    },
    p2p::{StageTransfer, TransferPath},
    pinned::{CopyRun, Pinned},
    qkv_rope_gelu::{QkvRopeGelu, RopeOnGpu},
    sampling::DeviceSampler,
    upload::{Read, Uploader},
    weights::GpuLinear,
};
