//! One MossBlock: a single LayerNorm feeds attention and MLP, and both add into the residual
//! stream.
//!
//! ```text
//! h = ln_1(x)
//! x = x + out_proj(attention(qkv_proj(h))) + fc_out(gelu(fc_in(h)))
//! ```
//! Source: CodeGen, arXiv 2203.13474; the parallel form is GPT-J's.

use candle_core::{DType, Device, Tensor};
use moss_cpu::{
    Activations, KernelError, Linear,
    ops::{self, KvLayer, RopeTable, SequenceRows},
};

use moss_weights::{LinearKind, LinearShape};

use crate::{
    BlockSpec, CacheShape, ColumnSlices, KvCacheType, ModelError, MossConfig, QkvPart,
    WeightSource, names,
};

/// LayerNorm weights, `[hidden_size]` each.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f64,
}

impl LayerNorm {
    pub(crate) fn load(
        source: &dyn WeightSource,
        stem: &str,
        config: &MossConfig,
    ) -> Result<Self, ModelError> {
        let vector = |tail: &str| {
            let name = format!("{stem}.{tail}");
            source
                .vector(&name, config.hidden_size)?
                .ok_or_else(|| source.missing(&name))
        };
        Ok(Self {
            weight: vector("weight")?,
            bias: vector("bias")?,
            epsilon: config.layer_norm_epsilon,
        })
    }

    /// Normalizes `x` `[rows, hidden_size]` f32. The result has the same shape, rounded to `out`.
    pub(crate) fn forward(&self, x: &Tensor, out: DType) -> Result<Tensor, KernelError> {
        ops::layer_norm(x, &self.weight, &self.bias, self.epsilon, out)
    }
}

/// The tokens of a micro-batch, the same in every layer.
pub(crate) struct Rows<'a> {
    /// Position of each token.
    pub(crate) positions: &'a [u32],
    /// Cache slot of each token: `block * block_size + offset`.
    pub(crate) slots: &'a [u32],
    /// The tokens of each sequence, in order.
    pub(crate) sequences: &'a [SequenceRows<'a>],
}

/// One layer: weights and KV cache.
#[derive(Debug)]
pub(crate) struct Block {
    norm: LayerNorm,
    qkv_proj: Linear,
    out_proj: Linear,
    fc_in: Linear,
    fc_out: Linear,
    cache: KvLayer,
    spec: BlockSpec,
    dtype: DType,
}

impl Block {
    /// Loads layer `layer`. Values between operations are rounded to `dtype`, those in the cache to
    /// `kv_cache`, and inputs of packed weights according to `activations`.
    pub(crate) fn load(
        source: &dyn WeightSource,
        layer: usize,
        config: &MossConfig,
        (cache, kv_cache): (CacheShape, KvCacheType),
        (dtype, activations): (DType, Activations),
        device: &Device,
    ) -> Result<Self, ModelError> {
        let spec = config.block();
        let linear = |kind: LinearKind| {
            let name = kind.name(layer);
            load_linear(source, layer, &name, spec.linear(kind), activations, device)
        };
        let CacheShape {
            block_size,
            num_blocks,
        } = cache;
        let (heads, head_dim) = (spec.num_heads, spec.head_dim);
        let kv = match kv_cache {
            KvCacheType::Native => {
                KvLayer::zeros(num_blocks, heads, block_size, head_dim, dtype, device)
            }
            KvCacheType::Int8 => KvLayer::int8(num_blocks, heads, block_size, head_dim, device),
        }
        .map_err(|source| ModelError::Kernel {
            layer,
            op: "kv cache",
            source,
        })?;
        Ok(Self {
            norm: LayerNorm::load(source, &names::block_norm(layer), config)?,
            qkv_proj: linear(LinearKind::QkvProj)?,
            out_proj: linear(LinearKind::OutProj)?,
            fc_in: linear(LinearKind::FcIn)?,
            fc_out: linear(LinearKind::FcOut)?,
            cache: kv,
            spec,
            dtype,
        })
    }

    /// Returns the KV cache of the layer.
    pub(crate) fn cache(&self) -> &KvLayer {
        &self.cache
    }

    /// Returns the bytes of weights that one token reads.
    pub(crate) fn weight_bytes(&self) -> u64 {
        [&self.qkv_proj, &self.out_proj, &self.fc_in, &self.fc_out]
            .map(Linear::weight_bytes)
            .iter()
            .sum()
    }

    /// Computes the residual stream after the block from that before it, `[rows, hidden_size]` f32
    /// both.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        rope: &RopeTable,
        rows: &Rows<'_>,
    ) -> Result<Tensor, KernelError> {
        let h = self.norm.forward(x, self.dtype)?; // [rows, hidden]
        let qkv = self.qkv_proj.forward(&h)?;
        let (q, k, v) = self.split_heads(&qkv)?; // [rows, heads, head_dim] each
        let q = ops::rotary(&q, rope, rows.positions)?;
        let k = ops::rotary(&k, rope, rows.positions)?;
        ops::kv_write(&self.cache, &k, &v, rows.slots)?;
        let attended = ops::attention(&q, &self.cache, rows.sequences)?; // [rows, hidden]

        let inner = ops::gelu_tanh(&self.fc_in.forward(&h)?, self.dtype)?; // [rows, inner]
        ops::add_residual(
            x,
            &self.out_proj.forward(&attended)?,
            &self.fc_out.forward(&inner)?,
        )
    }

    /// Gathers queries, keys and values from the shards of the output. This copies a few kilobytes
    /// per token; reordering the weights at load would copy a quarter of them.
    fn split_heads(&self, qkv: &Tensor) -> Result<(Tensor, Tensor, Tensor), KernelError> {
        let part = |part: QkvPart| {
            let ColumnSlices { first, len, stride } = self.spec.qkv_columns(part);
            let part = ops::gather_columns(qkv, first, len, stride, self.dtype)?;
            let shape = (qkv.dim(0)?, self.spec.num_heads, self.spec.head_dim);
            Ok::<_, KernelError>(part.reshape(shape)?)
        };
        Ok((
            part(QkvPart::Query)?,
            part(QkvPart::Key)?,
            part(QkvPart::Value)?,
        ))
    }
}

/// Loads one linear layer. If it keeps a copy of its weights, the mapped pages are released.
pub(crate) fn load_linear(
    source: &dyn WeightSource,
    layer: usize,
    name: &str,
    shape: LinearShape,
    activations: Activations,
    device: &Device,
) -> Result<Linear, ModelError> {
    let parts = source.linear(name, shape)?;
    let linear = Linear::new(parts.weight, parts.bias, device)
        .and_then(|linear| linear.with_activations(activations))
        .map_err(|source| ModelError::Kernel {
            layer,
            op: "linear",
            source,
        })?;
    if linear.owns_weights() {
        source.release(name);
    }
    Ok(linear)
}
