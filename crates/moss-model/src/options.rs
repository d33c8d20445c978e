//! Options and results of loading.

use std::ops::Range;

use moss_cpu::{Activations, ops::RopePrecision};
use moss_cuda::GpuInfo;

use crate::{
    CacheShape, ComputeDtype, DeviceSpec, KvCacheType, ModelError, decode_rows::decode_rows,
    stored_blocks::Rounding,
};

/// Options of [`crate::Moss::load`].
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Data type of activations, and of the KV cache unless [`LoadOptions::kv_cache`] says otherwise;
    /// on a GPU [`ComputeDtype::F16`].
    pub dtype: ComputeDtype,
    /// Rounding of the inputs of packed weights. [`Activations::Int8`] requires the CPU, packed
    /// weights, and a [`ComputeDtype`] other than f32.
    pub activations: Activations,
    /// Exact rotary frequencies, or rounded to f16 as in the published quantized models.
    pub rope_precision: RopePrecision,
    /// Type of keys and values in the cache.
    pub kv_cache: KvCacheType,
    /// Size of the KV cache. On the CPU, pages are committed on first use.
    pub cache: CacheShape,
    /// If all layers run on GPUs, the KV cache uses the remaining memory instead, and has at least one
    /// context window; see [`capacity`](crate::placement::capacity).
    pub fill_memory: bool,
    /// Sequences that decode together, from 1 to [`MAX_DECODE_ROWS`](crate::MAX_DECODE_ROWS); other
    /// values are clamped. A micro-batch has at most as many generated tokens. At the published
    /// size, a GPU needs 1.6 MB for each up to 31, and 0.45 MB for each above 64. More sequences in a
    /// forward batch are correct, but slow.
    pub max_decode_rows: usize,
    /// `max_decode_rows` is an upper bound: there are fewer if the KV cache would be small for them,
    /// and at most [`LoadOptions::CPU_ROWS`] with layers on the CPU.
    pub fewer_rows: bool,
    /// Devices of the stages, in order. Each gets one stage of consecutive layers; a device may be
    /// listed several times.
    pub devices: Vec<DeviceSpec>,
    /// Layers of each stage; `None` for automatic placement.
    pub layers_per_device: Option<Vec<usize>>,
    /// Allow peer-to-peer copies between GPUs that support them.
    pub peer_copies: bool,
}

impl LoadOptions {
    /// The most `max_decode_rows` with layers on the CPU, if there may be fewer. More sequences
    /// would each be slower than reading speed.
    pub const CPU_ROWS: usize = 32;

    /// Returns options for f32 on the CPU with a cache of `positions`.
    pub fn cpu(positions: usize) -> Self {
        Self {
            dtype: ComputeDtype::F32,
            activations: Activations::Exact,
            rope_precision: RopePrecision::F32,
            kv_cache: KvCacheType::Native,
            cache: CacheShape::for_positions(positions),
            fill_memory: false,
            max_decode_rows: 32,
            fewer_rows: false,
            devices: vec![DeviceSpec::Cpu],
            layers_per_device: None,
            peer_copies: true,
        }
    }

    /// Returns options for f16 on GPU `ordinal` with a cache of `positions`.
    pub fn gpu(ordinal: usize, positions: usize) -> Self {
        Self::gpus(&[ordinal], positions)
    }

    /// Returns options for f16 on several GPUs, in this order, with a cache of `positions`.
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

    /// Returns the most rows of a decode step, padding included.
    pub(crate) fn decode_rows(&self) -> usize {
        decode_rows(self.max_decode_rows)
    }

    /// Checks for options that exclude each other.
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

impl From<&LoadOptions> for Rounding {
    fn from(options: &LoadOptions) -> Self {
        Self {
            dtype: options.dtype,
            activations: options.activations,
            rope: options.rope_precision,
            kv_cache: options.kv_cache,
        }
    }
}

/// A loaded stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageInfo {
    /// Its device.
    pub device: DeviceSpec,
    /// Its layers.
    pub layers: Range<usize>,
    /// Bytes of its weights that a token reads.
    pub weight_bytes: u64,
    /// The GPU, unless it runs on the CPU.
    pub gpu: Option<DeviceInfo>,
}

/// A GPU, and its memory before and after a stage was loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceInfo {
    /// Its properties.
    pub gpu: GpuInfo,
    /// Bytes that were free when the stage opened the GPU, after creation of its context.
    pub free_before: u64,
    /// Bytes that are free now.
    pub free_now: u64,
}
