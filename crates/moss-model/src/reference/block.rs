//! One MossBlock in candle operations.
//!
//! ```text
//! h = ln_1(x)
//! x = x + out_proj(attention(qkv_proj(h))) + fc_out(gelu(fc_in(h)))
//! ```

use candle_core::{D, DType, Device, IndexOp, Module, Tensor};
use candle_nn::{LayerNorm, ops::softmax_last_dim, rotary_emb::rope_i};
use half::f16;
use moss_cpu::{KernelError, ops::RopePrecision};
use moss_weights::LinearKind;

use super::weights::{Linear, Weights};
use crate::{BlockSpec, ModelError, MossConfig, QkvPart, names};

/// Sines and cosines of every position, f32 `[context_length, rotary_dim / 2]` each.
#[derive(Debug, Clone)]
pub(super) struct Rotary {
    sin: Tensor,
    cos: Tensor,
}

impl Rotary {
    pub(super) fn new(
        config: &MossConfig,
        precision: RopePrecision,
        device: &Device,
    ) -> Result<Self, KernelError> {
        let round = |value: f32| match precision {
            RopePrecision::F32 => value,
            RopePrecision::F16 => f16::from_f32(value).to_f32(),
        };
        let (pairs, positions) = (config.rotary_dim / 2, config.context_length);
        let frequency = |pair: usize| {
            let exponent = round((2 * pair) as f32 / config.rotary_dim as f32);
            round(1.0 / round(10_000f32.powf(exponent)))
        };
        let frequencies: Vec<f32> = (0..pairs).map(frequency).collect();
        let frequencies = Tensor::from_vec(frequencies, (1, pairs), device)?;
        let positions: Vec<f32> = (0..positions).map(|position| position as f32).collect();
        let positions = Tensor::new(positions, device)?.unsqueeze(1)?;
        let angles = positions.broadcast_mul(&frequencies)?;
        Ok(Self {
            sin: angles.sin()?,
            cos: angles.cos()?,
        })
    }

    /// Rotates the first lanes of `x` `[heads, tokens, head_dim]`, whose first token has position
    /// `start`.
    fn apply(&self, x: &Tensor, start: usize) -> Result<Tensor, KernelError> {
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
        Ok(Tensor::cat(&[&rotated, &rest], D::Minus1)?)
    }
}

/// Keys and values of one sequence in one layer, `[heads, positions, head_dim]` each.
pub(super) type KeysValues = Option<(Tensor, Tensor)>;

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

/// The linear layers of a block with their weights dequantized.
pub(super) struct BlockWeights {
    qkv_proj: candle_nn::Linear,
    fc_in: candle_nn::Linear,
    out_proj: candle_nn::Linear,
    fc_out: candle_nn::Linear,
}

impl Block {
    pub(super) fn load(
        weights: &Weights<'_>,
        layer: usize,
        config: &MossConfig,
        rotary: &Rotary,
        dtype: DType,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let spec = config.block();
        let source = weights.source;
        let linear = |kind: LinearKind| {
            let name = kind.name(layer);
            let parts = source.linear(&name, spec.linear(kind))?;
            let linear = Linear::load(parts, dtype, device);
            source.release(&name);
            let op = "linear";
            linear.map_err(|source| ModelError::Kernel { layer, op, source })
        };
        let [qkv_proj, fc_in, out_proj, fc_out] = LinearKind::ALL.map(linear);
        Ok(Self {
            device: device.clone(),
            norm: layer_norm(weights, &names::block_norm(layer), config, layer, device)?,
            linears: [qkv_proj?, fc_in?, out_proj?, fc_out?],
            rotary: rotary.clone(),
            spec,
            dtype,
        })
    }

    /// Returns the linear layers for one forward pass.
    pub(super) fn weights(&self) -> Result<BlockWeights, KernelError> {
        let [qkv_proj, fc_in, out_proj, fc_out] = &self.linears;
        Ok(BlockWeights {
            qkv_proj: qkv_proj.dequantized(&self.device)?,
            fc_in: fc_in.dequantized(&self.device)?,
            out_proj: out_proj.dequantized(&self.device)?,
            fc_out: fc_out.dequantized(&self.device)?,
        })
    }

    /// `x` is the residual stream `[tokens, hidden_size]` f32 of one sequence from position `start`
    /// on; so is the result. Extends `cache`, which may hold positions from `start` on of an
    /// earlier pass.
    pub(super) fn forward(
        &self,
        weights: &BlockWeights,
        x: &Tensor,
        start: usize,
        cache: &mut KeysValues,
    ) -> Result<Tensor, KernelError> {
        let h = self.norm.forward(x)?.to_dtype(self.dtype)?;
        let attended = self.attention(&weights.qkv_proj.forward(&h)?, start, cache)?;
        let attended = weights.out_proj.forward(&attended)?;
        let inner = weights.fc_in.forward(&h)?.to_dtype(DType::F32)?.gelu()?;
        let inner = weights.fc_out.forward(&inner.to_dtype(self.dtype)?)?;
        Ok(((x + attended.to_dtype(DType::F32)?)? + inner.to_dtype(DType::F32)?)?)
    }

    /// Computes the output of attention `[tokens, hidden_size]` from that of qkv_proj.
    fn attention(
        &self,
        qkv: &Tensor,
        start: usize,
        cache: &mut KeysValues,
    ) -> Result<Tensor, KernelError> {
        let spec = &self.spec;
        let (heads, shards, head_dim) = (spec.num_heads, spec.qkv_shards, spec.head_dim);
        let tokens = qkv.dim(0)?;
        let qkv = qkv.reshape((tokens, shards, 3, heads / shards, head_dim))?;
        let part = |part: QkvPart| -> candle_core::Result<Tensor> {
            let part = qkv.i((.., .., part as usize))?;
            part.reshape((tokens, heads, head_dim))?.transpose(0, 1)
        };
        let q = self.rotary.apply(&part(QkvPart::Query)?, start)?;
        let k = self.rotary.apply(&part(QkvPart::Key)?, start)?;
        let v = part(QkvPart::Value)?;
        let (k, v) = match cache.take() {
            Some((keys, values)) if start > 0 => {
                let append = |past: &Tensor, new: &Tensor| {
                    Tensor::cat(&[&past.narrow(1, 0, start)?, new], 1)?.contiguous()
                };
                (append(&keys, &k)?, append(&values, &v)?)
            }
            _ => (k.contiguous()?, v.contiguous()?),
        };
        *cache = Some((k.clone(), v.clone()));

        let (q, k) = (q.to_dtype(DType::F32)?, k.to_dtype(DType::F32)?);
        let scores = q.contiguous()?.matmul(&k.transpose(1, 2)?)?; // [heads, tokens, positions]
        let scores = (scores / (head_dim as f64).sqrt())?;
        let scores = scores.broadcast_add(&causal_mask(tokens, start, &self.device)?)?;
        let probabilities = softmax_last_dim(&scores)?.to_dtype(self.dtype)?;
        let attended = probabilities.matmul(&v)?.transpose(0, 1)?;
        Ok(attended.reshape((tokens, spec.hidden_size()))?)
    }
}

/// Returns `[tokens, start + tokens]`: 0 where a token sees a position, and -inf elsewhere.
fn causal_mask(tokens: usize, start: usize, device: &Device) -> candle_core::Result<Tensor> {
    let positions = start + tokens;
    let mask: Vec<f32> = (start..positions)
        .flat_map(|token| {
            let sees = move |position| position <= token;
            (0..positions).map(move |at| if sees(at) { 0.0 } else { f32::NEG_INFINITY })
        })
        .collect();
    Tensor::from_vec(mask, (tokens, positions), device)
}

/// Loads a norm, which computes in f32.
pub(super) fn layer_norm(
    weights: &Weights<'_>,
    name: &str,
    config: &MossConfig,
    layer: usize,
    device: &Device,
) -> Result<LayerNorm, ModelError> {
    let builder = weights.builder(DType::F32, device).pp(name);
    candle_nn::layer_norm(config.hidden_size, config.layer_norm_epsilon, builder)
        .map_err(weights.error(layer, "norm"))
}
