//! What stands between the products: embedding, norm, where heads and inner values go, the close of
//! a layer.

use half::f16;

use super::{
    Buffer, Gpu, GpuLinear, HeadLayout, KvBlocks, TILE, Watch,
    args::{Heads, NormTarget},
    buffer::View,
    count,
    launch::{Geometry, Kernel, params},
    linear::LinearInput,
    rule,
};
use crate::KernelError;

/// LayerNorm weights on a card, `[hidden]` each.
#[derive(Debug)]
pub struct NormWeights {
    /// Factors.
    pub weight: Buffer<f32>,
    /// Summands.
    pub bias: Buffer<f32>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// Sines and cosines of every position on a card: `[context_length, rotary_dim / 2]` each.
#[derive(Debug)]
pub struct RopeOnGpu {
    sin: Buffer<f32>,
    cos: Buffer<f32>,
    pairs: usize,
}

impl RopeOnGpu {
    /// Uploads the sines and cosines of `pairs` pairs of lanes a position.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for slices that are not both whole positions, as many in each;
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
pub(super) fn check_angles(sin: &[f32], cos: &[f32], pairs: usize) -> Result<(), KernelError> {
    const OP: &str = "rotary";
    let whole = sin.len().is_multiple_of(pairs);
    rule(
        OP,
        "sines",
        sin.len(),
        whole,
        format!("a multiple of {pairs}"),
    )?;
    let same = cos.len() == sin.len();
    rule(OP, "cosines", cos.len(), same, sin.len().to_string())
}

/// Where the outputs of qkv_proj and fc_in go.
#[derive(Debug, Clone, Copy)]
pub struct HeadTargets<'a> {
    /// `[rows, num_heads, stride]`.
    pub q: &'a Buffer<f16>,
    /// The layer's cache.
    pub cache: &'a KvBlocks,
    /// Position of each row.
    pub positions: View<'a, u32>,
    /// Cache slot of each row.
    pub slots: View<'a, u32>,
    /// Angles.
    pub rope: &'a RopeOnGpu,
    /// Inputs of fc_out, in the order of its places.
    pub inner: LinearInput<'a>,
    /// fc_out, which says where its inputs stand.
    pub fc_out: &'a GpuLinear,
    /// Sizes.
    pub layout: HeadLayout,
}

impl HeadTargets<'_> {
    /// Checks that `n` rows fit everywhere.
    pub(super) fn args(
        &self,
        n: usize,
        qkv: &GpuLinear,
        fc_in: &GpuLinear,
    ) -> Result<Heads, KernelError> {
        const OP: &str = "heads";
        let HeadLayout {
            num_heads,
            head_dim,
            shards,
        } = self.layout;
        let (hidden, stride) = (num_heads * head_dim, self.layout.stride());
        let at_least = |arg, found: usize, needed: usize| {
            rule(
                OP,
                arg,
                found,
                found >= needed,
                format!("at least {needed}"),
            )
        };
        rule(
            OP,
            "head_dim",
            head_dim,
            head_dim > 0 && head_dim.is_multiple_of(2),
            "even",
        )?;
        rule(
            OP,
            "shards",
            shards,
            shards > 0 && num_heads.is_multiple_of(shards.max(1)),
            "a divisor of the heads",
        )?;
        rule(
            OP,
            "qkv outputs",
            qkv.out_features,
            qkv.out_features == 3 * hidden,
            (3 * hidden).to_string(),
        )?;
        rule(
            OP,
            "inner size",
            fc_in.out_features,
            fc_in.out_features == self.fc_out.in_features,
            self.fc_out.in_features.to_string(),
        )?;
        rule(
            OP,
            "rotary pairs",
            self.rope.pairs,
            2 * self.rope.pairs <= head_dim,
            format!("at most {}", head_dim / 2),
        )?;
        rule(
            OP,
            "cache heads",
            self.cache.heads,
            (self.cache.heads, self.cache.stride) == (num_heads, stride),
            num_heads.to_string(),
        )?;
        at_least("q", self.q.len(), n * num_heads * stride)?;
        at_least("positions", self.positions.len, n)?;
        at_least("slots", self.slots.len, n)?;
        at_least(
            "inner stride",
            self.inner.stride,
            self.fc_out.input_stride(),
        )?;
        at_least("inner", self.inner.values.len(), n * self.inner.stride)?;
        let inner_bias = fc_in.bias.as_ref().ok_or(KernelError::Argument {
            op: OP,
            arg: "fc_in bias",
            found: 0,
            rule: fc_in.out_features.to_string(),
        })?;
        Ok(Heads {
            q: self.q.ptr_mut(),
            keys: self.cache.keys().ptr_mut(),
            values: self.cache.values().ptr_mut(),
            positions: self.positions.ptr(),
            slots: self.slots.ptr(),
            sin: self.rope.sin.ptr(),
            cos: self.rope.cos.ptr(),
            inner_bias: inner_bias.ptr(),
            inner: self.inner.values.ptr_mut(),
            inner_scatter: self
                .fc_out
                .scatter
                .as_ref()
                .map_or(std::ptr::null(), Buffer::ptr),
            inner_size: count(OP, "inner size", fc_in.out_features)?,
            inner_stride: count(OP, "inner stride", self.inner.stride)?,
            hidden: count(OP, "hidden", hidden)?,
            shards: count(OP, "shards", shards)?,
            num_heads: count(OP, "heads", num_heads)?,
            head_dim: count(OP, "head_dim", head_dim)?,
            head_stride: count(OP, "head stride", stride)?,
            rotary_pairs: count(OP, "rotary pairs", self.rope.pairs)?,
        })
    }
}

impl Gpu {
    /// `stream[row] = table[ids[row]]`, widened; sets `flag`, where there is one, to "nothing
    /// seen".
    ///
    /// # Errors
    /// [`KernelError::Argument`] where extents do not fit. Ids are the caller's to check.
    pub fn embedding(
        &self,
        (table, table_stride): (View<'_, f16>, usize),
        ids: View<'_, u32>,
        hidden: usize,
        n: usize,
        stream: &Buffer<f32>,
        flag: Option<&Buffer<u64>>,
    ) -> Result<(), KernelError> {
        const OP: &str = "embedding";
        rule(OP, "ids", ids.len, ids.len >= n, format!("at least {n}"))?;
        rule(
            OP,
            "stream",
            stream.len(),
            stream.len() >= n * hidden,
            format!("at least {}", n * hidden),
        )?;
        rule(
            OP,
            "flag",
            0,
            flag.is_none_or(|flag| !flag.is_empty()),
            "at least 1",
        )?;
        rule(
            OP,
            "table stride",
            table_stride,
            table_stride >= hidden && table.len >= table_stride,
            format!("at least {hidden}"),
        )?;
        let (table, ids, x) = (table.ptr(), ids.ptr(), stream.ptr_mut());
        let flag = flag.map_or(std::ptr::null_mut(), Buffer::ptr_mut);
        let (hidden, table_stride) = (
            count(OP, "hidden", hidden)?,
            count(OP, "table stride", table_stride)?,
        );
        let geometry = Geometry {
            grid: (count(OP, "rows", n)?, 1, 1),
            block: 256,
        };
        // SAFETY: arguments as in kernels/embedding.cu; extents were checked above, and the caller
        // checked the ids against the table.
        unsafe {
            self.launch(
                Kernel::Embedding,
                geometry,
                params![table, table_stride, ids, x, hidden, flag],
            )
        }
    }

    /// Norms rows `source_rows` of `stream` (or rows 0 to n) into the inputs of one or two linear
    /// layers.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where extents do not fit. Row numbers are the caller's to check.
    pub fn layer_norm(
        &self,
        stream: &Buffer<f32>,
        source_rows: Option<View<'_, u32>>,
        n: usize,
        norm: &NormWeights,
        to: &[(LinearInput<'_>, &GpuLinear)],
    ) -> Result<(), KernelError> {
        const OP: &str = "layer_norm";
        let hidden = norm.weight.len();
        if let Some(rows) = source_rows {
            rule(OP, "rows", rows.len, rows.len >= n, format!("at least {n}"))?;
        } else {
            rule(
                OP,
                "stream",
                stream.len(),
                stream.len() >= n * hidden,
                format!("at least {}", n * hidden),
            )?;
        }
        rule(
            OP,
            "bias",
            norm.bias.len(),
            norm.bias.len() == hidden,
            hidden.to_string(),
        )?;
        rule(
            OP,
            "targets",
            to.len(),
            (1..=2).contains(&to.len()),
            "1 or 2",
        )?;
        let mut targets = [NormTarget::NONE; 2];
        for (target, (out, linear)) in targets.iter_mut().zip(to) {
            rule(
                OP,
                "hidden",
                hidden,
                hidden == linear.in_features,
                linear.in_features.to_string(),
            )?;
            rule(
                OP,
                "output stride",
                out.stride,
                out.stride >= linear.input_stride(),
                format!("at least {}", linear.input_stride()),
            )?;
            rule(
                OP,
                "output",
                out.values.len(),
                out.values.len() >= n * out.stride,
                format!("at least {}", n * out.stride),
            )?;
            *target = NormTarget {
                out: out.values.ptr_mut(),
                scatter: linear
                    .scatter
                    .as_ref()
                    .map_or(std::ptr::null(), Buffer::ptr),
                stride: count(OP, "output stride", out.stride)?,
            };
        }
        let [first, second] = targets;
        let (x, rows) = (
            stream.ptr(),
            source_rows.map_or(std::ptr::null(), |rows| rows.ptr()),
        );
        let (weight, bias, hidden) = (
            norm.weight.ptr(),
            norm.bias.ptr(),
            count(OP, "hidden", hidden)?,
        );
        let epsilon = norm.epsilon as f32;
        let geometry = Geometry {
            grid: (count(OP, "rows", n)?, 1, 1),
            block: 1024,
        };
        // SAFETY: arguments as in kernels/layer_norm.cu; extents were checked above.
        unsafe {
            self.launch(
                Kernel::LayerNorm,
                geometry,
                params![x, rows, weight, bias, hidden, epsilon, first, second],
            )
        }
    }

    /// As the epilogue of [`Gpu::linear_heads`], for products `y` `[n, stride]` f16 that are there
    /// already: `columns` of qkv_proj, or of fc_in.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where extents do not fit.
    pub fn heads_and_inner(
        &self,
        y: &Buffer<f16>,
        stride: usize,
        inner: bool,
        n: usize,
        (qkv, fc_in): (&GpuLinear, &GpuLinear),
        to: &HeadTargets<'_>,
    ) -> Result<(), KernelError> {
        const OP: &str = "heads";
        let outputs = if inner {
            fc_in.out_features
        } else {
            qkv.out_features
        };
        rule(
            OP,
            "y",
            y.len(),
            stride >= outputs.next_multiple_of(2) && y.len() >= n * stride,
            format!("at least {}", n * outputs),
        )?;
        let heads = to.args(n, qkv, fc_in)?;
        let (y, y_stride) = (y.ptr(), count(OP, "stride", stride)?);
        // Columns from here on are fc_in's.
        let inner_start = if inner { 0 } else { u32::MAX };
        let pairs = outputs.div_ceil(2).div_ceil(256);
        let geometry = Geometry {
            grid: (count(OP, "columns", pairs)?, count(OP, "rows", n)?, 1),
            block: 256,
        };
        // SAFETY: arguments as in kernels/many_rows.cu; extents were checked above and by
        // `HeadTargets::args`.
        unsafe {
            self.launch(
                Kernel::HeadsAndInner,
                geometry,
                params![y, y_stride, inner_start, heads],
            )
        }
    }

    /// `stream[row] += bias`, and a look at every value.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where extents do not fit.
    pub fn close_layer(
        &self,
        stream: &Buffer<f32>,
        linear: &GpuLinear,
        n: usize,
        watch: Watch<'_>,
    ) -> Result<(), KernelError> {
        const OP: &str = "close_layer";
        let hidden = linear.out_features;
        rule(
            OP,
            "stream",
            stream.len(),
            stream.len() >= n * hidden,
            format!("at least {}", n * hidden),
        )?;
        let (x, flag) = (stream.ptr_mut(), watch.flag.ptr_mut());
        let bias = linear.bias.as_ref().map_or(std::ptr::null(), Buffer::ptr);
        let (hidden, layer) = (
            count(OP, "hidden", hidden)?,
            count(OP, "layer", watch.layer)?,
        );
        let geometry = Geometry {
            grid: (hidden.div_ceil(1024), count(OP, "rows", n)?, 1),
            block: 256,
        };
        // SAFETY: arguments as in kernels/many_rows.cu; extents were checked above.
        unsafe {
            self.launch(
                Kernel::AddBias,
                geometry,
                params![x, bias, hidden, layer, flag],
            )
        }
    }
}

const _: () = assert!(TILE.is_multiple_of(2), "a pair of outputs lies in one tile");
