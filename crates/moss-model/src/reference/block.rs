//! One MossBlock in candle operations.
//!
//! ```text
//! h = ln_1(x)
//! x = x + out_proj(attention(qkv_proj(h))) + fc_out(gelu(fc_in(h)))
//! ```

use candle_core::{D, DType, Device, IndexOp, Module, Result, Tensor};
use candle_nn::{LayerNorm, ops::softmax_last_dim, rotary_emb::rope_i};
use half::f16;
use moss_cpu::{KernelError, ops::RopePrecision};
use moss_weights::LinearKind;

use super::weights::{Backend, Linear, wrap};
use crate::{BlockSpec, MossConfig, QkvPart, names};

/// Sines and cosines of every position, f32 `[context_length, rotary_dim / 2]` each.
#[derive(Debug, Clone)]
pub(super) struct Rotary {
    sin: Tensor,
    cos: Tensor,
}

impl Rotary {
    pub(super) fn new(config: &MossConfig, rounding: RopePrecision, on: &Device) -> Result<Self> {
        let round = |value: f32| match rounding {
            RopePrecision::F32 => value,
            RopePrecision::F16 => f16::from_f32(value).to_f32(),
        };
        let frequency = |pair: usize| {
            let exponent = round((2 * pair) as f32 / config.rotary_dim as f32);
            round(1.0 / round(10_000f32.powf(exponent)))
        };
        let frequencies: Vec<f32> = (0..config.rotary_dim / 2).map(frequency).collect();
        let positions = Tensor::arange(0.0, config.context_length as f32, on)?.unsqueeze(1)?;
        let angles = positions.broadcast_mul(&Tensor::new(frequencies, on)?)?;
        let (sin, cos) = (angles.sin()?, angles.cos()?);
        Ok(Self { sin, cos })
    }

    /// Rotates the first lanes of `x` `[heads, tokens, head_dim]`, whose first token has position
    /// `start`.
    fn apply(&self, x: &Tensor, start: usize) -> Result<Tensor> {
        let (_, tokens, head_dim) = x.dims3()?;
        let lanes = 2 * self.cos.dim(1)?;
        let angles = |table: &Tensor| table.narrow(0, start, tokens);
        let rotated = x.narrow(D::Minus1, 0, lanes)?.to_dtype(DType::F32)?;
        let rotated = rotated.contiguous()?.unsqueeze(0)?;
        let rotated = rope_i(&rotated, &angles(&self.cos)?, &angles(&self.sin)?)?;
        let rotated = rotated.squeeze(0)?.to_dtype(x.dtype())?;
        if lanes == head_dim {
            return Ok(rotated);
        }
        let rest = x.narrow(D::Minus1, lanes, head_dim - lanes)?;
        Tensor::cat(&[&rotated, &rest], D::Minus1)
    }
}

/// Keys and values of one sequence in one layer, `[heads, positions, head_dim]` each.
pub(super) type KeysValues = Option<(Tensor, Tensor)>;

/// The linear layers of a block with their weights dequantized, in the order of [`LinearKind::ALL`].
pub(super) type Linears = [candle_nn::Linear; 4];

/// One layer on its device.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) device: Device,
    norm: LayerNorm,
    linears: [Linear; 4],
    rotary: Rotary,
    spec: BlockSpec,
    dtype: DType,
}

impl Block {
    pub(super) fn load(
        weights: &Backend<'_>,
        layer: usize,
        config: &MossConfig,
        rotary: &Rotary,
        dtype: DType,
        device: &Device,
    ) -> std::result::Result<Self, KernelError> {
        let spec = config.block();
        let linear = |kind: LinearKind| {
            let name = kind.name(layer);
            let parts = weights.0.linear(&name, spec.linear(kind)).map_err(wrap)?;
            let linear = Linear::load(parts, dtype, device);
            weights.0.release(&name);
            linear
        };
        let [qkv_proj, fc_in, out_proj, fc_out] = LinearKind::ALL.map(linear);
        Ok(Self {
            norm: weights.norm(&names::block_norm(layer), config, device)?,
            linears: [qkv_proj?, fc_in?, out_proj?, fc_out?],
            device: device.clone(),
            rotary: rotary.clone(),
            spec,
            dtype,
        })
    }

    /// Returns the linear layers for one forward pass.
    pub(super) fn dequantized(&self) -> std::result::Result<Linears, KernelError> {
        let linears = self.linears.each_ref();
        let [qkv_proj, fc_in, out_proj, fc_out] =
            linears.map(|linear| linear.dequantized(&self.device));
        Ok([qkv_proj?, fc_in?, out_proj?, fc_out?])
    }

    /// `x` is the residual stream `[tokens, hidden_size]` f32 of one sequence from position `start`
    /// on; so is the result. Extends `cache`, which may hold positions from `start` on of an
    /// earlier pass.
    pub(super) fn forward(
        &self,
        [qkv_proj, fc_in, out_proj, fc_out]: &Linears,
        x: &Tensor,
        start: usize,
        cache: &mut KeysValues,
    ) -> Result<Tensor> {
        let x = x.to_device(&self.device)?;
        let h = self.norm.forward(&x)?.to_dtype(self.dtype)?;
        let attended = self.attention(&qkv_proj.forward(&h)?, start, cache)?;
        let attended = out_proj.forward(&attended)?;
        let inner = fc_in.forward(&h)?.to_dtype(DType::F32)?.gelu()?;
        let inner = fc_out.forward(&inner.to_dtype(self.dtype)?)?;
        (x + attended.to_dtype(DType::F32)?)? + inner.to_dtype(DType::F32)?
    }

    /// Computes the output of attention `[tokens, hidden_size]` from that of qkv_proj.
    fn attention(&self, qkv: &Tensor, start: usize, cache: &mut KeysValues) -> Result<Tensor> {
        let spec = &self.spec;
        let (heads, shards, head_dim) = (spec.num_heads, spec.qkv_shards, spec.head_dim);
        let tokens = qkv.dim(0)?;
        let qkv = qkv.reshape((tokens, shards, 3, heads / shards, head_dim))?;
        let part = |part: QkvPart| {
            let part = qkv.i((.., .., part as usize))?;
            part.reshape((tokens, heads, head_dim))?.transpose(0, 1)
        };
        let q = self.rotary.apply(&part(QkvPart::Query)?, start)?;
        let k = self.rotary.apply(&part(QkvPart::Key)?, start)?;
        let extend = |past: Option<Tensor>, new: Tensor| match past {
            Some(past) if start > 0 => {
                Tensor::cat(&[&past.narrow(1, 0, start)?, &new], 1)?.contiguous()
            }
            _ => new.contiguous(),
        };
        let (keys, values) = cache.take().unzip();
        let (k, v) = (extend(keys, k)?, extend(values, part(QkvPart::Value)?)?);
        *cache = Some((k.clone(), v.clone()));

        let (q, k) = (q.to_dtype(DType::F32)?, k.to_dtype(DType::F32)?);
        let scores = q.contiguous()?.matmul(&k.transpose(1, 2)?)?; // [heads, tokens, positions]
        let scores = (scores / (head_dim as f64).sqrt())?;
        let scores = scores.broadcast_add(&causal_mask(tokens, start, &self.device)?)?;
        let probabilities = softmax_last_dim(&scores)?.to_dtype(self.dtype)?;
        let attended = probabilities.matmul(&v)?.transpose(0, 1)?;
        attended.reshape((tokens, spec.hidden_size()))
    }
}

/// Returns `[tokens, start + tokens]`: 0 where a token sees a position, and -inf elsewhere.
fn causal_mask(tokens: usize, start: usize, device: &Device) -> Result<Tensor> {
    let positions = start + tokens;
    let mask = (0..tokens * positions).map(|at| {
        let (token, position) = (start + at / positions, at % positions);
        if position <= token {
            0.0
        } else {
            f32::NEG_INFINITY
        }
    });
    Tensor::from_iter(mask, device)?.reshape((tokens, positions))
}
