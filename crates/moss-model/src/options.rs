//! How a model is placed, and what is said on the way.

use candle_core::DType;
use moss_kernels::ops::RopePrecision;

use crate::CacheShape;

/// What the values between two ops are rounded to, the cache included. Sums and the residual stream are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ComputeDtype {
    /// Exact to the last bits; twice the cache. On the CPU alone.
    #[default]
    F32,
    /// As the published model runs on a GPU.
    F16,
    /// The range of f32 with eight bits of precision. On the CPU alone.
    BF16,
}

impl ComputeDtype {
    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    pub(crate) fn candle(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
        }
    }
}

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceSpec {
    /// On the CPU, in the current rayon pool.
    Cpu,
    /// On one NVIDIA GPU.
    Gpu {
        /// Its number, within what `CUDA_VISIBLE_DEVICES` leaves.
        ordinal: usize,
        /// The newest architecture whose code may run, such as 75; `None` for the best that the card runs.
        newest_code: Option<u32>,
    },
}

/// How to place a model.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Rounding of activations and cache; on a GPU [`ComputeDtype::F16`].
    pub dtype: ComputeDtype,
    /// Exact rotary frequencies, or rounded to f16 as upstream's quantised models have them.
    pub rope_precision: RopePrecision,
    /// Extent of the key/value cache; on the CPU pages are committed as they are first used.
    pub cache: CacheShape,
    /// Where it runs.
    pub device: DeviceSpec,
    /// Rows from which a pass on a GPU takes the path of many rows; `None` for the path that is fastest. For tests of either path.
    pub many_rows_from: Option<usize>,
}

impl LoadOptions {
    /// f32 on the CPU with a cache of `positions`.
    pub fn cpu(positions: usize) -> Self {
        Self {
            dtype: ComputeDtype::F32,
            rope_precision: RopePrecision::F32,
            cache: CacheShape::for_positions(positions),
            device: DeviceSpec::Cpu,
            many_rows_from: None,
        }
    }

    /// f16 on GPU `ordinal` with a cache of `positions`.
    pub fn gpu(ordinal: usize, positions: usize) -> Self {
        let device = DeviceSpec::Gpu { ordinal, newest_code: None };
        Self { dtype: ComputeDtype::F16, device, ..Self::cpu(positions) }
    }
}

/// Progress of loading. `Started`, then `Planned` on a GPU, then one `Layer` a layer, then `Finished` unless an error is returned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LoadEvent {
    /// Sizes are known.
    Started {
        /// Layers to come.
        layers: usize,
    },
    /// What a card's memory will hold.
    Planned(MemoryPlan),
    /// A layer is in place.
    Layer {
        /// Layers in place.
        done: usize,
        /// Bytes of weights in place.
        bytes: u64,
    },
    /// Everything is in place.
    Finished,
}

/// Bytes of a card's memory, before anything is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryPlan {
    /// Weights of blocks, final norm and head, as the kernels keep them.
    pub weights: u64,
    /// The embedding; 0 where it stays in host memory to make the model fit.
    pub embedding: u64,
    /// Keys and values.
    pub cache: u64,
    /// Activations, scratch and libraries.
    pub workspace: u64,
    /// What the card has free.
    pub free: u64,
}

impl MemoryPlan {
    /// Bytes in all.
    pub fn needed(&self) -> u64 {
        self.weights + self.embedding + self.cache + self.workspace
    }
}
