//! One layer and the buffers of a pass through it, as parity checks and timings set them up.

use candle_core::Device;
use half::f16;
use moss_cpu::ops::{RopePrecision, RopeTable};
use moss_cuda::{
    BLOCK_POSITIONS, Buffer, Gpu, GpuLinear, HeadTargets, KvBlocks, LinearInput, LinearPair,
    NormWeights, RopeOnGpu,
};
use moss_model::BlockSpec;
use moss_weights::{KernelError, synthetic::noise};

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
        spec: BlockSpec,
        inputs: LinearPair,
        outputs: LinearPair,
        cache_blocks: usize,
    ) -> Result<Self, KernelError> {
        let mut cache = KvBlocks::new(gpu, cache_blocks, BLOCK_POSITIONS, spec.head_layout())?;
        cache.hold(gpu, cache_blocks)?;
        Ok(Self {
            norm: norm(gpu, spec.hidden_size())?,
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
        epsilon: BlockSpec::MOON_003.layer_norm_epsilon,
    })
}

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
    spec: BlockSpec,
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
        spec: BlockSpec,
        layer: &Layer,
        positions: &[u32],
        slots: &[u32],
    ) -> Result<Self, KernelError> {
        let rows = positions.len();
        let places = |linear: &GpuLinear| gpu.zeros::<f16>(rows * linear.input_stride());
        let (precision, device) = (RopePrecision::F32, Device::Cpu);
        let table = RopeTable::new(spec.rotary_dim, spec.context_length, precision, &device)?;
        Ok(Self {
            spec,
            stream: gpu.zeros(rows * spec.hidden_size())?,
            normed: [places(&layer.inputs.first)?, places(&layer.inputs.second)?],
            q: gpu.zeros(rows * spec.num_heads * spec.head_layout().stride())?,
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
            layout: self.spec.head_layout(),
        }
    }
}
