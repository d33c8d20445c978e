//! How a model is placed, and what is said on the way.

use std::ops::Range;

use candle_core::DType;
use moss_cpu::{Activations, ops::RopePrecision};
use moss_cuda::GpuInfo;

use crate::{CacheShape, ModelError, placement::Note};

/// What the values between two ops are rounded to, the cache included. Sums and the residual stream
/// are always f32.
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
        /// The newest architecture whose code may run, such as 75; `None` for the best that the
        /// card runs.
        newest_code: Option<u32>,
    },
}

impl std::fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("CPU"),
            Self::Gpu { ordinal, .. } => write!(f, "GPU {ordinal}"),
        }
    }
}

/// How to place a model.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Rounding of activations and cache; on a GPU [`ComputeDtype::F16`].
    pub dtype: ComputeDtype,
    /// What the packed weights of the blocks are multiplied with. [`Activations::Int8`] on the CPU
    /// alone, with packed weights and a [`ComputeDtype`] that rounds too.
    pub activations: Activations,
    /// Exact rotary frequencies, or rounded to f16 as upstream's quantised models have them.
    pub rope_precision: RopePrecision,
    /// Extent of the key/value cache; on the CPU pages are committed as they are first used.
    pub cache: CacheShape,
    /// Where it runs: one stage of consecutive layers on each, in this order. A device may stand
    /// here several times.
    pub devices: Vec<DeviceSpec>,
    /// Layers of each stage; `None` for a division that suits the devices.
    pub layers_per_device: Option<Vec<usize>>,
    /// Whether cards may hand hidden states over without the host, where they can.
    pub peer_copies: bool,
    /// Rows from which a pass on a GPU takes the path of many rows; `None` for the path that is
    /// fastest. For tests of either path.
    pub many_rows_from: Option<usize>,
}

impl LoadOptions {
    /// f32 on the CPU with a cache of `positions`.
    pub fn cpu(positions: usize) -> Self {
        Self {
            dtype: ComputeDtype::F32,
            activations: Activations::Exact,
            rope_precision: RopePrecision::F32,
            cache: CacheShape::for_positions(positions),
            devices: vec![DeviceSpec::Cpu],
            layers_per_device: None,
            peer_copies: true,
            many_rows_from: None,
        }
    }

    /// f16 on GPU `ordinal` with a cache of `positions`.
    pub fn gpu(ordinal: usize, positions: usize) -> Self {
        Self::gpus(&[ordinal], positions)
    }

    /// f16 over several GPUs, layer by layer in this order, with a cache of `positions`.
    pub fn gpus(ordinals: &[usize], positions: usize) -> Self {
        let gpu = |ordinal: &usize| DeviceSpec::Gpu {
            ordinal: *ordinal,
            newest_code: None,
        };
        let devices = ordinals.iter().map(gpu).collect();
        Self {
            dtype: ComputeDtype::F16,
            devices,
            ..Self::cpu(positions)
        }
    }

    /// Refuses what excludes each other, before anything is opened.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        if self.activations == Activations::Exact {
            return Ok(());
        }
        if self.dtype == ComputeDtype::F32 {
            return Err(ModelError::ActivationsNotExact);
        }
        match self
            .devices
            .iter()
            .find(|device| **device != DeviceSpec::Cpu)
        {
            Some(&device) => Err(ModelError::ActivationsOffCpu { device }),
            None => Ok(()),
        }
    }
}

/// Progress of loading. `Started`, what is worth knowing of the placement, one `Planned` a GPU
/// stage, then one `Layer` a layer, in any order, then `Finished` unless an error is returned.
#[derive(Debug, Clone, PartialEq)]
pub enum LoadEvent {
    /// Sizes are known.
    Started {
        /// Layers to come.
        layers: usize,
    },
    /// Something that the user should know of the placement.
    Noted {
        /// What.
        note: Note,
        /// The devices, as they were asked for.
        devices: Vec<DeviceSpec>,
    },
    /// What a card's memory will hold.
    Planned {
        /// Stage, from 0.
        stage: usize,
        /// The card.
        device: DeviceSpec,
        /// Its layers.
        layers: Range<usize>,
        /// Its memory.
        memory: MemoryPlan,
    },
    /// A layer is in place.
    Layer {
        /// Bytes of its weights.
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
        let parts = [self.weights, self.embedding, self.cache, self.workspace];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

/// A stage at work.
#[derive(Debug, Clone, PartialEq)]
pub struct StageInfo {
    /// Where it runs.
    pub device: DeviceSpec,
    /// Its layers.
    pub layers: Range<usize>,
    /// Bytes of weights that a token reads there.
    pub weight_bytes: u64,
    /// The GPU, unless it runs on the CPU.
    pub gpu: Option<DeviceInfo>,
}

/// A GPU, and its memory before and after a stage was loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceInfo {
    /// Its properties.
    pub gpu: GpuInfo,
    /// Bytes that were free when the stage opened the GPU: all but its idle context and other
    /// programs.
    pub free_before: u64,
    /// Bytes that are free now.
    pub free_now: u64,
}
