//! Attention heads: rotary embedding, split and merge of heads, and causal softmax.

use std::ops::Range;

use moss_weights::{KernelError, Rule};

use super::matrix::{F32Matrix, THREADS, one_thread_per_element};
use crate::{
    args::{CausalSoftmaxF32Args, MergeHeadsF32Args, SplitHeadsF32Args},
    buffer::Buffer,
    contract::{check_heads, count, rule},
    device::Gpu,
    kernels::Kernel,
    launch::{Call, Geometry},
    qkv_rope_gelu::check_angles,
};

/// Sizes of the heads for [`Gpu::f32_split_heads`].
#[derive(Debug, Clone, Copy)]
pub struct SplitHeads {
    /// Number of heads.
    pub heads: usize,
    /// Values of a head.
    pub head_dim: usize,
    /// Slabs of qkv_proj's outputs, [query | value | key] each.
    pub shards: usize,
    /// Position of the first row.
    pub start: usize,
}

/// Sines and cosines in f32, `[positions, pairs]` each.
#[derive(Debug)]
pub struct F32Angles {
    sin: Buffer<f32>,
    cos: Buffer<f32>,
    positions: usize,
    pairs: usize,
}

impl Gpu {
    /// Uploads the sines and cosines of rotary embedding, `[positions, pairs]` each.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for lengths that are not equal multiples of `pairs`;
    /// [`KernelError::OutOfMemory`].
    pub fn f32_angles(
        &self,
        sin: &[f32],
        cos: &[f32],
        pairs: usize,
    ) -> Result<F32Angles, KernelError> {
        check_angles(sin, cos, pairs)?;
        Ok(F32Angles {
            sin: self.upload(sin)?,
            cos: self.upload(cos)?,
            positions: sin.len().checked_div(pairs).unwrap_or(usize::MAX),
            pairs,
        })
    }

    /// Splits the outputs of qkv_proj `[rows, 3 * hidden]`. Returns the rotated queries `[heads *
    /// rows, head_dim]`, and writes rotated keys, and values, to positions `start..` of `keys` and
    /// `values` `[heads * positions, head_dim]`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if extents do not match; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::OutOfMemory`].
    pub fn f32_split_heads(
        &self,
        qkv: &F32Matrix,
        rows: Range<usize>,
        angles: &F32Angles,
        [keys, values]: [&mut F32Matrix; 2],
        split: SplitHeads,
    ) -> Result<F32Matrix, KernelError> {
        const OP: &str = "split_heads";
        let SplitHeads {
            heads,
            head_dim,
            shards,
            start,
        } = split;
        let hidden = heads * head_dim;
        rule(
            OP,
            "columns",
            qkv.columns,
            qkv.columns == 3 * hidden,
            Rule::Exactly(3 * hidden),
        )?;
        check_heads(OP, heads, head_dim, shards)?;
        rule(
            OP,
            "rotary pairs",
            angles.pairs,
            2 * angles.pairs <= head_dim,
            Rule::AtMost(head_dim / 2),
        )?;
        let (positions, end) = (keys.rows / heads.max(1), start + rows.len());
        let room = positions.min(angles.positions);
        rule(OP, "end of the rows", end, end <= room, Rule::AtMost(room))?;
        for matrix in [&*keys, &*values] {
            let fits = (matrix.rows, matrix.columns) == (heads * positions, head_dim);
            rule(
                OP,
                "rows of keys and values",
                matrix.rows,
                fits,
                Rule::Exactly(heads * positions),
            )?;
        }
        let source = qkv.view(OP, &rows)?;
        let q = self.f32_zeros(heads * rows.len(), head_dim)?;
        let call = Call::new(self, OP);
        let number = |arg, n| count(OP, arg, n);
        let angle_values = end * angles.pairs;
        let args = SplitHeadsF32Args {
            qkv: call.input("qkv", source, rows.len() * qkv.columns)?,
            sin: call.input("sines", &angles.sin, angle_values)?,
            cos: call.input("cosines", &angles.cos, angle_values)?,
            q: q.output(&call, "q")?,
            k: keys.output(&call, "keys")?,
            v: values.output(&call, "values")?,
            heads: number("heads", heads)?,
            head_dim: number("head_dim", head_dim)?,
            shards: number("shards", shards)?,
            pairs: number("pairs", angles.pairs)?,
            start: number("start", start)?,
            positions: number("positions", positions)?,
        };
        let geometry = one_thread_per_element(OP, hidden / 2, rows.len())?;
        call.launch(Kernel::SPLIT_HEADS, geometry, &args)?;
        Ok(q)
    }

    /// Writes `x` `[heads * rows, head_dim]`, as `[rows, heads * head_dim]`, to the rows of `to`
    /// from `first` on.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if extents do not match; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn f32_merge_heads(
        &self,
        x: &F32Matrix,
        heads: usize,
        to: &mut F32Matrix,
        first: usize,
    ) -> Result<(), KernelError> {
        const OP: &str = "merge_heads";
        let rows = x.rows / heads.max(1);
        rule(
            OP,
            "rows",
            x.rows,
            heads * rows == x.rows,
            Rule::MultipleOf(heads),
        )?;
        rule(
            OP,
            "columns",
            to.columns,
            to.columns == heads * x.columns,
            Rule::Exactly(heads * x.columns),
        )?;
        let target = to.view(OP, &(first..first + rows))?;
        let call = Call::new(self, OP);
        let args = MergeHeadsF32Args {
            x: x.input(&call, "x")?,
            y: call.output("y", target, rows * to.columns)?,
            heads: count(OP, "heads", heads)?,
            head_dim: count(OP, "head_dim", x.columns)?,
        };
        let geometry = one_thread_per_element(OP, to.columns, rows)?;
        call.launch(Kernel::MERGE_HEADS, geometry, &args)
    }

    /// Replaces row `i` of `scores` by the softmax over its columns `0..=first + i`, and zeros
    /// after them.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for 2^32 rows or more; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn f32_causal_softmax(
        &self,
        scores: &mut F32Matrix,
        first: usize,
    ) -> Result<(), KernelError> {
        const OP: &str = "softmax";
        let call = Call::new(self, OP);
        let args = CausalSoftmaxF32Args {
            scores: scores.output(&call, "scores")?,
            columns: count(OP, "columns", scores.columns)?,
            first: count(OP, "first", first)?,
        };
        let geometry = Geometry {
            grid: (count(OP, "rows", scores.rows)?, 1, 1),
            block: THREADS as u32,
        };
        call.launch(Kernel::CAUSAL_SOFTMAX, geometry, &args)
    }
}
