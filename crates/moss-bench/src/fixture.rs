//! One layer and the buffers of a pass through it, as parity checks and timings set them up.

use candle_core::Device;
use half::f16;
use moss_cpu::ops::{RopePrecision, RopeTable};
use moss_cuda::{
    BLOCK_POSITIONS, Buffer, Gpu, GpuLinear, HeadLayout, HeadTargets, KvBlocks, LinearInput,
    LinearPair, NormWeights, RopeOnGpu,
};
use moss_weights::{KernelError, synthetic::noise};

/// What is the same in all layers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerShape {
    pub(crate) num_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) inner_size: usize,
    pub(crate) rotary_dim: usize,
    /// Positions that have angles.
    pub(crate) positions: usize,
}

impl LayerShape {
    /// MOSS-moon-003's own.
    pub(crate) const MOON: Self = Self {
        num_heads: 24,
        head_dim: 256,
        inner_size: 24_576,
        rotary_dim: 64,
        positions: 2048,
    };

    pub(crate) fn hidden(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Slabs of qkv_proj as in every published checkpoint.
    pub(crate) fn heads(&self) -> HeadLayout {
        HeadLayout {
            num_heads: self.num_heads,
            head_dim: self.head_dim,
            shards: 4,
        }
    }
}

/// Weights and cache.
pub(crate) struct Layer {
    pub(crate) norm: NormWeights,
    /// qkv_proj and fc_in.
    pub(crate) inputs: LinearPair,
    /// out_proj and fc_out.
    pub(crate) outputs: LinearPair,
    pub(crate) cache: KvBlocks,
}

impl Layer {
    /// A layer with these weights, a norm that changes every value, and an empty cache.
    pub(crate) fn new(
        gpu: &Gpu,
        shape: LayerShape,
        inputs: LinearPair,
        outputs: LinearPair,
        cache_blocks: usize,
    ) -> Result<Self, KernelError> {
        let mut cache = KvBlocks::new(gpu, cache_blocks, BLOCK_POSITIONS, shape.heads())?;
        cache.hold(gpu, cache_blocks)?;
        Ok(Self {
            norm: norm(gpu, shape.hidden())?,
            inputs,
            outputs,
            cache,
        })
    }
}

/// Factors around 1 and summands around 0.
pub(crate) fn norm(gpu: &Gpu, hidden: usize) -> Result<NormWeights, KernelError> {
    let (weight, bias) = norm_values(hidden);
    Ok(NormWeights {
        weight: gpu.upload(&weight)?,
        bias: gpu.upload(&bias)?,
        epsilon: EPSILON,
    })
}

/// As every published checkpoint has it.
pub(crate) const EPSILON: f64 = 1e-5;

pub(crate) fn norm_values(hidden: usize) -> (Vec<f32>, Vec<f32>) {
    (
        noise(hidden, 0.5, 11)
            .iter()
            .map(|value| 1.0 + value)
            .collect(),
        noise(hidden, 0.5, 12),
    )
}

/// Buffers of a pass of `rows` rows.
pub(crate) struct ForwardBuffers {
    shape: LayerShape,
    /// `[rows, hidden]`
    pub(crate) stream: Buffer<f32>,
    /// `[rows, places]`: the inputs of qkv_proj and of fc_in.
    pub(crate) normed: [Buffer<f16>; 2],
    /// `[rows, heads, stride]`
    pub(crate) q: Buffer<f16>,
    /// `[rows, places]`: the inputs of out_proj and of fc_out.
    pub(crate) attended: Buffer<f16>,
    pub(crate) inner: Buffer<f16>,
    pub(crate) rope: RopeOnGpu,
    /// Position and cache slot of each row.
    pub(crate) positions: Buffer<u32>,
    pub(crate) slots: Buffer<u32>,
    pub(crate) flag: Buffer<u64>,
}

impl ForwardBuffers {
    /// Zeros everywhere, and nothing reported.
    pub(crate) fn new(
        gpu: &Gpu,
        shape: LayerShape,
        layer: &Layer,
        positions: &[u32],
        slots: &[u32],
    ) -> Result<Self, KernelError> {
        let rows = positions.len();
        let places = |linear: &GpuLinear| gpu.zeros::<f16>(rows * linear.input_stride());
        let (precision, device) = (RopePrecision::F32, Device::Cpu);
        let table = RopeTable::new(shape.rotary_dim, shape.positions, precision, &device)?;
        Ok(Self {
            shape,
            stream: gpu.zeros(rows * shape.hidden())?,
            normed: [places(&layer.inputs.first)?, places(&layer.inputs.second)?],
            q: gpu.zeros(rows * shape.num_heads * shape.heads().stride())?,
            attended: places(&layer.outputs.first)?,
            inner: places(&layer.outputs.second)?,
            rope: RopeOnGpu::new(gpu, table.sin(), table.cos(), table.pairs())?,
            positions: gpu.upload(positions)?,
            slots: gpu.upload(slots)?,
            flag: gpu.upload(&[u64::MAX])?,
        })
    }

    /// The inputs of qkv_proj and fc_in.
    pub(crate) fn normed<'a>(&'a self, layer: &Layer) -> [LinearInput<'a>; 2] {
        let input = |values, stride| LinearInput { values, stride };
        [
            input(&self.normed[0], layer.inputs.first.input_stride()),
            input(&self.normed[1], layer.inputs.second.input_stride()),
        ]
    }

    /// The inputs of out_proj and fc_out.
    pub(crate) fn ready<'a>(&'a self, layer: &Layer) -> [LinearInput<'a>; 2] {
        let input = |values, stride| LinearInput { values, stride };
        [
            input(&self.attended, layer.outputs.first.input_stride()),
            input(&self.inner, layer.outputs.second.input_stride()),
        ]
    }

    /// Where the outputs of qkv_proj and fc_in go.
    pub(crate) fn targets<'a>(&'a self, layer: &'a Layer) -> HeadTargets<'a> {
        let [_, inner] = self.ready(layer);
        HeadTargets {
            q: &self.q,
            cache: &layer.cache,
            positions: self.positions.all(),
            slots: self.slots.all(),
            rope: &self.rope,
            inner,
            fc_out: &layer.outputs.second,
            layout: self.shape.heads(),
        }
    }
}
