//! The epilogue of [qkv_proj | fc_in]: rotary embedding, KV cache write, bias and GELU.

use half::f16;
use moss_weights::{KernelError, Rule};

use crate::{
    args::Heads,
    buffer::{Buffer, View},
    contract::{check_heads, count, rule},
    device::Gpu,
    kv_blocks::KvBlocks,
    launch::Call,
    layout::{HeadLayout, KvFormat, TILE},
    operands::LinearInput,
    weights::GpuLinear,
};

const OP: &str = "heads";

// The epilogue stores pairs of outputs.
const _: () = assert!(TILE.is_multiple_of(2));

/// Sines and cosines of every position: `[context_length, rotary_dim / 2]` each.
#[derive(Debug)]
pub struct RopeOnGpu {
    sin: Buffer<f32>,
    cos: Buffer<f32>,
    pairs: usize,
}

impl RopeOnGpu {
    /// Uploads the sines and cosines, `[positions, pairs]` each.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for lengths that are not equal multiples of `pairs`;
    /// [`KernelError::OutOfMemory`].
    pub fn new(gpu: &Gpu, sin: &[f32], cos: &[f32], pairs: usize) -> Result<Self, KernelError> {
        check_angles(sin, cos, pairs)?;
        Ok(Self {
            sin: gpu.upload(sin)?,
            cos: gpu.upload(cos)?,
            pairs,
        })
    }
}

/// Checks that sines and cosines are `[positions, pairs]` each.
pub(crate) fn check_angles(sin: &[f32], cos: &[f32], pairs: usize) -> Result<(), KernelError> {
    const OP: &str = "rotary";
    let whole = sin.len().is_multiple_of(pairs);
    rule(OP, "sines", sin.len(), whole, Rule::MultipleOf(pairs))?;
    let same = cos.len() == sin.len();
    rule(OP, "cosines", cos.len(), same, Rule::Exactly(sin.len()))
}

/// The destinations of the outputs of qkv_proj and fc_in.
#[derive(Debug, Clone, Copy)]
pub struct QkvRopeGelu<'a> {
    /// The queries, `[tokens, num_heads, stride]`.
    pub q: &'a Buffer<f16>,
    /// The layer's cache in f16, or a buffer that [`Gpu::kv_quantize`] reads.
    pub cache: &'a KvBlocks,
    /// Position of each token.
    pub positions: View<'a, u32>,
    /// Cache slot of each token, or [`NO_SLOT`](crate::NO_SLOT) in a decode step.
    pub slots: View<'a, u32>,
    /// Angles.
    pub rope: &'a RopeOnGpu,
    /// The input of fc_out, in the order of its input permutation.
    pub inner: LinearInput<'a>,
    /// fc_out, for its input permutation.
    pub fc_out: &'a GpuLinear,
    /// Sizes of the heads.
    pub layout: HeadLayout,
}

impl<'b> QkvRopeGelu<'b> {
    /// Checks that the outputs of `n` tokens fit, and returns the destinations as kernels take
    /// them.
    pub(crate) fn args<'a>(
        &self,
        call: &Call<'a>,
        n: usize,
        qkv: &'a GpuLinear,
        fc_in: &'a GpuLinear,
    ) -> Result<Heads, KernelError>
    where
        'b: 'a,
    {
        let HeadLayout {
            num_heads,
            head_dim,
            shards,
        } = self.layout;
        let (hidden, stride) = (num_heads * head_dim, self.layout.stride());
        check_heads(OP, num_heads, head_dim, shards)?;
        rule(
            OP,
            "qkv outputs",
            qkv.out_features,
            qkv.out_features == 3 * hidden,
            Rule::Exactly(3 * hidden),
        )?;
        rule(
            OP,
            "inner size",
            fc_in.out_features,
            fc_in.out_features == self.fc_out.in_features,
            Rule::Exactly(self.fc_out.in_features),
        )?;
        rule(
            OP,
            "rotary pairs",
            self.rope.pairs,
            2 * self.rope.pairs <= head_dim,
            Rule::AtMost(head_dim / 2),
        )?;
        rule(
            OP,
            "cache heads",
            self.cache.heads,
            (self.cache.heads, self.cache.stride) == (num_heads, stride),
            Rule::Exactly(num_heads),
        )?;
        self.cache.expect_format(OP, KvFormat::F16)?;
        let inner_stride = self.inner.stride;
        rule(
            OP,
            "inner stride",
            inner_stride,
            inner_stride >= self.fc_out.input_stride() && inner_stride.is_multiple_of(8),
            Rule::AlignedAtLeast {
                multiple: 8,
                least: self.fc_out.input_stride(),
            },
        )?;
        let inner_bias = fc_in.bias.as_ref().ok_or(KernelError::Argument {
            op: OP,
            arg: "fc_in bias",
            found: 0,
            rule: Rule::Exactly(fc_in.out_features),
        })?;
        let (rope, cache) = (self.rope, self.cache);
        Ok(Heads {
            q: call.output("q", self.q, n * num_heads * stride)?,
            keys: call.output("keys", cache.keys(), cache.keys().len())?,
            values: call.output("values", cache.values(), cache.values().len())?,
            positions: call.input("positions", self.positions, n)?,
            slots: call.input("slots", self.slots, n)?,
            sin: call.input("sines", &rope.sin, rope.sin.len())?,
            cos: call.input("cosines", &rope.cos, rope.sin.len())?,
            inner_bias: call.input("fc_in bias", inner_bias, fc_in.out_features)?,
            inner: call.output("inner", self.inner.values, n * inner_stride)?,
            inner_scatter: self.fc_out.scatter_address(call, self.inner.order)?,
            inner_size: count(OP, "inner size", fc_in.out_features)?,
            inner_stride: count(OP, "inner stride", inner_stride)?,
            hidden: count(OP, "hidden", hidden)?,
            shards: count(OP, "shards", shards)?,
            num_heads: count(OP, "heads", num_heads)?,
            head_dim: count(OP, "head_dim", head_dim)?,
            head_stride: count(OP, "head stride", stride)?,
            rotary_pairs: count(OP, "rotary pairs", rope.pairs)?,
        })
    }
}
