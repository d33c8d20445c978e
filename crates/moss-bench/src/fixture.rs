//! One layer and the buffers of a forward batch, for parity cases and timings.

use candle_core::Device;
use half::f16;
use moss_cpu::ops::{RopePrecision, RopeTable};
use moss_cuda::{
    BLOCK_POSITIONS, Buffer, Gpu, GpuLinear, InputOrder, KvBlocks, KvFormat, LinearInput,
    LinearPair, LinearScratch, NormWeights, QkvRopeGelu, RopeOnGpu,
};
use moss_model::BlockSpec;
use moss_weights::{KernelError, synthetic::noise};

/// The weights and the cache of a layer.
pub(crate) struct Layer {
    pub(crate) norm: NormWeights,
    /// qkv_proj and fc_in.
    pub(crate) inputs: LinearPair,
    /// out_proj and fc_out.
    pub(crate) outputs: LinearPair,
    pub(crate) cache: KvBlocks,
}

impl Layer {
    /// Creates a layer with these weights, a norm that changes every value, and an empty cache.
    pub(crate) fn new(
        gpu: &Gpu,
        spec: BlockSpec,
        inputs: LinearPair,
        outputs: LinearPair,
        cache_blocks: usize,
    ) -> Result<Self, KernelError> {
        let (layout, format) = (spec.head_layout(), KvFormat::F16);
        let mut cache = KvBlocks::new(gpu, cache_blocks, BLOCK_POSITIONS, layout, format)?;
        cache.ensure_mapped(gpu, cache_blocks)?;
        Ok(Self {
            norm: norm(gpu, spec.hidden_size())?,
            inputs,
            outputs,
            cache,
        })
    }
}

/// Returns norm weights with factors around 1 and summands around 0.
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

/// Buffers of a forward batch.
pub(crate) struct ForwardBuffers {
    spec: BlockSpec,
    /// `[tokens, hidden]`
    pub(crate) stream: Buffer<f32>,
    /// The inputs of qkv_proj and of fc_in, `[tokens, input_stride]`.
    pub(crate) normed: [Buffer<f16>; 2],
    /// `[tokens, heads, stride]`
    pub(crate) q: Buffer<f16>,
    /// The inputs of out_proj and of fc_out, `[tokens, input_stride]`.
    pub(crate) attended: Buffer<f16>,
    pub(crate) inner: Buffer<f16>,
    pub(crate) rope: RopeOnGpu,
    /// Position and cache slot of each token.
    pub(crate) positions: Buffer<u32>,
    pub(crate) slots: Buffer<u32>,
    pub(crate) flag: Buffer<u64>,
    /// Scratch memory of decode kernels, and the number of tokens of a step; `None` for the kernels
    /// that every GPU has.
    pub(crate) linear: Option<(LinearScratch, usize)>,
    /// Is true if the tokens are those of a prompt.
    pub(crate) is_prompt: bool,
}

impl ForwardBuffers {
    /// Allocates the buffers, with zeros and no report of non-finite values.
    pub(crate) fn new(
        gpu: &Gpu,
        spec: BlockSpec,
        layer: &Layer,
        positions: &[u32],
        slots: &[u32],
    ) -> Result<Self, KernelError> {
        let tokens = positions.len();
        let input = |linear: &GpuLinear| gpu.zeros::<f16>(tokens * linear.input_stride());
        let (precision, device) = (RopePrecision::F32, Device::Cpu);
        let table = RopeTable::new(spec.rotary_dim, spec.context_length, precision, &device)?;
        Ok(Self {
            spec,
            stream: gpu.zeros(tokens * spec.hidden_size())?,
            normed: [input(&layer.inputs.first)?, input(&layer.inputs.second)?],
            q: gpu.zeros(tokens * spec.num_heads * spec.head_layout().stride())?,
            attended: input(&layer.outputs.first)?,
            inner: input(&layer.outputs.second)?,
            rope: RopeOnGpu::new(gpu, table.sin(), table.cos(), table.pairs())?,
            positions: gpu.upload(positions)?,
            slots: gpu.upload(slots)?,
            flag: gpu.upload(&[u64::MAX])?,
            linear: None,
            is_prompt: false,
        })
    }

    /// Returns the order of the inputs of a linear layer.
    pub(crate) fn order(&self, linear: &GpuLinear) -> InputOrder<'_> {
        match &self.linear {
            Some((scratch, n)) => scratch.order(*n),
            None if self.is_prompt => linear.prompt_order(),
            None => InputOrder::Columns,
        }
    }

    /// Returns the input of a linear layer.
    pub(crate) fn input<'a>(
        &'a self,
        values: &'a Buffer<f16>,
        linear: &GpuLinear,
    ) -> LinearInput<'a> {
        LinearInput {
            values,
            stride: linear.input_stride(),
            order: self.order(linear),
        }
    }

    /// Returns the inputs of qkv_proj and fc_in.
    pub(crate) fn normed<'a>(&'a self, layer: &Layer) -> [LinearInput<'a>; 2] {
        [
            self.input(&self.normed[0], &layer.inputs.first),
            self.input(&self.normed[1], &layer.inputs.second),
        ]
    }

    /// Returns the inputs of out_proj and fc_out.
    pub(crate) fn output_inputs<'a>(&'a self, layer: &Layer) -> [LinearInput<'a>; 2] {
        [
            self.input(&self.attended, &layer.outputs.first),
            self.input(&self.inner, &layer.outputs.second),
        ]
    }

    /// Returns the destinations of the outputs of qkv_proj and fc_in.
    pub(crate) fn epilogue<'a>(&'a self, layer: &'a Layer) -> QkvRopeGelu<'a> {
        let [_, inner] = self.output_inputs(layer);
        QkvRopeGelu {
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
