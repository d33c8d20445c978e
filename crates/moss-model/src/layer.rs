//! One block by itself, in f32 over candle's tensors: for those who work through a network layer by layer and never hold it whole.
//!
//! Every step is handed the weights it multiplies with, `[in_features, out_features]` f32 on the layer's device, so that they may come from
//! anywhere and go as soon as they are used. The same code runs on the CPU and on a card.

use candle_core::{D, Device, Tensor};
use moss_kernels::{
    KernelError,
    ops::{Embedding, RopePrecision, RopeTable},
};

use crate::{
    LinearKind, ModelError, MossConfig, WeightSource,
    config::TRAINING_SHARDS,
    names::{self, LayerNames},
    tap::to_host,
};

/// Rows of queries that are scored at a time: 100 MB of scores for 24 heads and 2048 positions.
const QUERIES: usize = 512;

/// Consecutive rows of a batch that are one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceSpan {
    /// Rows.
    pub rows: usize,
    /// Position of the first; those before it are the first of the sequence before.
    pub start_pos: usize,
}

/// Layer `layer` of a network without its matrices, which runs sequences one after the other.
#[derive(Debug)]
pub struct Layer {
    layer: usize,
    /// `[hidden_size]` each.
    norm: [Tensor; 2],
    epsilon: f64,
    fc_in_bias: Tensor,
    fc_out_bias: Tensor,
    /// Sines and cosines, `[positions, 1, rotary_dim / 2, 1]` each.
    angles: [Tensor; 2],
    rotary_dim: usize,
    num_heads: usize,
    head_dim: usize,
    /// See [`future`]; of as many positions as are scored at a time.
    future: Tensor,
    /// Keys and values of the last sequence, `[heads, positions, head_dim]` each.
    last: Option<[Tensor; 2]>,
}

/// The hidden states that enter layer 0, `[ids, hidden_size]` row-major.
///
/// # Errors
/// [`ModelError::Checkpoint`] for a missing or misshapen embedding; [`ModelError::Kernel`] for an id without a row.
pub fn embed(source: &dyn WeightSource, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
    let config = source.config()?;
    let table = source
        .matrix(names::EMBEDDING, config.vocab_size, config.hidden_size)?
        .ok_or_else(|| source.missing(names::EMBEDDING))?;
    let run = || to_host(&Embedding::new(table)?.lookup(ids, &Device::Cpu)?);
    run().map_err(|source| ModelError::Kernel { layer: 0, op: "embedding", source })
}

impl Layer {
    /// Reads norm and biases of one layer, for sequences of up to `positions`.
    ///
    /// # Errors
    /// As for [`crate::Moss::load`].
    pub fn load(
        source: &dyn WeightSource,
        config: &MossConfig,
        layer: usize,
        positions: usize,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let at = |source| ModelError::Kernel { layer, op: "load", source };
        let vector = |name: String, len| -> Result<Tensor, ModelError> {
            let values = source.vector(&name, len)?.ok_or_else(|| source.missing(&name))?;
            Tensor::from_vec(values, len, device).map_err(|error| at(error.into()))
        };
        let bias = |kind: LinearKind| vector(kind.stem(layer) + ".bias", kind.extents(config).1);
        let norm = LayerNames::new(layer).norm;
        let pairs = config.rotary_dim / 2;
        let angles = |values: &[f32]| {
            Tensor::from_slice(values, (positions, 1, pairs, 1), device).map_err(|error| at(error.into()))
        };
        let table = RopeTable::new(config.rotary_dim, positions, RopePrecision::F32, &Device::Cpu);
        let table = table.map_err(at)?;
        Ok(Self {
            layer,
            norm: [
                vector(format!("{norm}.weight"), config.hidden_size)?,
                vector(format!("{norm}.bias"), config.hidden_size)?,
            ],
            epsilon: config.layer_norm_epsilon,
            fc_in_bias: bias(LinearKind::FcIn)?,
            fc_out_bias: bias(LinearKind::FcOut)?,
            angles: [angles(table.sin())?, angles(table.cos())?],
            rotary_dim: config.rotary_dim,
            num_heads: config.num_heads,
            head_dim: config.head_dim,
            future: future(QUERIES.min(positions), device).map_err(at)?,
            last: None,
        })
    }

    /// Where its tensors are.
    pub fn device(&self) -> &Device {
        self.fc_in_bias.device()
    }

    /// The input of `qkv_proj` and `fc_in`: `x` is the residual stream `[rows, hidden_size]`, and so is the result.
    ///
    /// # Errors
    /// [`ModelError::Kernel`] here and below: for tensors of other shapes, or a device that is full.
    pub fn normed(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        self.run("layer_norm", || {
            let [weight, bias] = &self.norm;
            let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
            let deviation = (x.sqr()?.mean_keepdim(D::Minus1)? + self.epsilon)?.sqrt()?;
            Ok(x.broadcast_div(&deviation)?.broadcast_mul(weight)?.broadcast_add(bias)?)
        })
    }

    /// The input of `out_proj`: what each row of `h`, the normed input `[rows, hidden_size]`, gathers from its sequence.
    ///
    /// # Errors
    /// [`ModelError::Kernel`], also for positions past those of [`Self::load`], or behind a sequence that was not there or is shorter.
    pub fn attended(
        &mut self,
        h: &Tensor,
        qkv_proj: &Tensor,
        sequences: &[SequenceSpan],
    ) -> Result<Tensor, ModelError> {
        let mut last = self.last.take();
        let attended = self.run("attention", || {
            // [rows, heads, head_dim] each
            let (q, k, v) = split_heads(&h.matmul(qkv_proj)?, self.num_heads, self.head_dim)?;
            let (mut first, mut parts) = (0, Vec::with_capacity(sequences.len()));
            for SequenceSpan { rows, start_pos } in sequences.iter().copied() {
                let own = |all: &Tensor| all.narrow(0, first, rows);
                let heads_first = |x: &Tensor| x.transpose(0, 1)?.contiguous(); // [heads, rows, head_dim]
                let q = heads_first(&self.rotated(&own(&q)?, start_pos)?)?;
                let mut k = heads_first(&self.rotated(&own(&k)?, start_pos)?)?;
                let mut v = heads_first(&own(&v)?)?;
                if start_pos > 0 {
                    let [keys, values] = last.as_ref().ok_or_else(|| nothing_before(start_pos))?;
                    k = Tensor::cat(&[&keys.narrow(1, 0, start_pos)?, &k], 1)?;
                    v = Tensor::cat(&[&values.narrow(1, 0, start_pos)?, &v], 1)?;
                }
                parts.push(self.gathered(&q, &k, &v)?);
                last = Some([k, v]);
                first += rows;
            }
            Ok(Tensor::cat(&parts, 0)?)
        });
        self.last = last;
        attended
    }

    /// The input of `fc_out`: `gelu(fc_in(h))`, `[rows, inner_size]`.
    ///
    /// # Errors
    /// [`ModelError::Kernel`].
    pub fn activated(&self, h: &Tensor, fc_in: &Tensor) -> Result<Tensor, ModelError> {
        self.run("fc_in", || Ok(h.matmul(fc_in)?.broadcast_add(&self.fc_in_bias)?.gelu()?))
    }

    /// The residual stream behind the block: `x` with what both branches add, `[rows, hidden_size]`.
    ///
    /// # Errors
    /// [`ModelError::Kernel`].
    pub fn added(
        &self,
        x: &Tensor,
        (attended, out_proj): (&Tensor, &Tensor),
        (activated, fc_out): (&Tensor, &Tensor),
    ) -> Result<Tensor, ModelError> {
        self.run("out_proj and fc_out", || {
            let x = (x + attended.matmul(out_proj)?)?;
            Ok((x + activated.matmul(fc_out)?)?.broadcast_add(&self.fc_out_bias)?)
        })
    }

    /// Turns the lanes (2i, 2i + 1) of every head together: `x` is `[rows, heads, head_dim]`, of positions from `start_pos` on.
    fn rotated(&self, x: &Tensor, start_pos: usize) -> Result<Tensor, KernelError> {
        if self.rotary_dim == 0 {
            return Ok(x.clone());
        }
        let (rows, heads, head_dim) = x.dims3()?;
        let [sin, cos] = &self.angles;
        let (sin, cos) = (sin.narrow(0, start_pos, rows)?, cos.narrow(0, start_pos, rows)?);
        let turning = x.narrow(2, 0, self.rotary_dim)?.contiguous()?;
        let pairs = turning.reshape((rows, heads, self.rotary_dim / 2, 2))?;
        let (even, odd) = (pairs.narrow(3, 0, 1)?, pairs.narrow(3, 1, 1)?);
        let first = (even.broadcast_mul(&cos)? - odd.broadcast_mul(&sin)?)?;
        let second = (odd.broadcast_mul(&cos)? + even.broadcast_mul(&sin)?)?;
        let turned = Tensor::cat(&[first, second], 3)?.reshape((rows, heads, self.rotary_dim))?;
        if self.rotary_dim == head_dim {
            return Ok(turned);
        }
        Ok(Tensor::cat(&[turned, x.narrow(2, self.rotary_dim, head_dim - self.rotary_dim)?], 2)?)
    }

    /// Causal attention of one sequence: `q` `[heads, rows, head_dim]` are its last rows, `k` and `v` `[heads, positions, head_dim]` all of it;
    /// the result is `[rows, heads * head_dim]`.
    fn gathered(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, KernelError> {
        let (heads, rows, head_dim) = q.dims3()?;
        let start_pos = k.dim(1)? - rows;
        let q = (q / (head_dim as f64).sqrt())?;
        let mut parts = Vec::with_capacity(rows.div_ceil(QUERIES));
        for first in (0..rows).step_by(QUERIES) {
            let count = QUERIES.min(rows - first);
            let end = start_pos + first + count;
            let seen = |all: &Tensor| all.narrow(1, 0, end)?.contiguous();
            let scores = q.narrow(1, first, count)?.contiguous()?.matmul(&seen(k)?.transpose(1, 2)?)?;
            // Only the chunk's own positions may lie ahead.
            let future = self.future.narrow(0, 0, count)?.narrow(1, 0, count)?;
            let scores = scores.broadcast_add(&future.pad_with_zeros(1, end - count, 0)?)?; // [heads, count, end]
            let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
            let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
            parts.push(weights.matmul(&seen(v)?)?.transpose(0, 1)?.reshape((count, heads * head_dim))?);
        }
        Ok(Tensor::cat(&parts, 0)?)
    }

    fn run(
        &self,
        op: &'static str,
        work: impl FnOnce() -> Result<Tensor, KernelError>,
    ) -> Result<Tensor, ModelError> {
        work().map_err(|source| ModelError::Kernel { layer: self.layer, op, source })
    }
}

fn nothing_before(start_pos: usize) -> KernelError {
    let rule = "0 for the first sequence".into();
    KernelError::Argument { op: "attention", arg: "start_pos", found: start_pos, rule }
}

/// What is added to the scores of positions among themselves, `[positions, positions]`: nothing, or minus infinity for those to come.
fn future(positions: usize, device: &Device) -> Result<Tensor, KernelError> {
    let row = |own: usize| (0..positions).map(move |at| if at <= own { 0.0 } else { f32::NEG_INFINITY });
    let values: Vec<f32> = (0..positions).flat_map(row).collect();
    Ok(Tensor::from_vec(values, (positions, positions), device)?)
}

/// Queries, keys and values, `[rows, heads, head_dim]` each, of `[rows, shards, query | value | key, heads / shards, head_dim]`.
fn split_heads(
    qkv: &Tensor,
    num_heads: usize,
    head_dim: usize,
) -> Result<(Tensor, Tensor, Tensor), KernelError> {
    let rows = qkv.dim(0)?;
    let slabs = qkv.reshape((rows, TRAINING_SHARDS, 3, num_heads / TRAINING_SHARDS, head_dim))?;
    let part = |index| slabs.narrow(2, index, 1)?.contiguous()?.reshape((rows, num_heads, head_dim));
    Ok((part(0)?, part(2)?, part(1)?))
}
