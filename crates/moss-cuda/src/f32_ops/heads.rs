//! Attention heads in f32: rotary embedding, split and merge of heads, causal softmax.

use std::ops::Range;

use super::{F32Matrix, THREADS};
use crate::{
    Buffer, Gpu, KernelError, count,
    elementwise::check_angles,
    launch::{Geometry, Kernel, params},
    rule,
};

/// Sizes of the heads that [`Gpu::f32_split_heads`] takes apart.
#[derive(Debug, Clone, Copy)]
pub struct SplitHeads {
    /// Heads.
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
    /// Uploads the sines and cosines of rotary embedding, of `pairs` pairs of lanes a position.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for slices that are not both whole positions, as many in each;
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

    /// Takes the outputs of qkv_proj `[rows, 3 * hidden]` apart: queries `[heads * rows,
    /// head_dim]`, rotated, are returned; keys, rotated, and values go to positions `start..` of
    /// `keys` and `values` `[heads * positions, head_dim]`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where extents do not fit; [`KernelError::OutOfMemory`].
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
        qkv.check_rows(OP, &rows)?;
        let hidden = heads * head_dim;
        rule(
            OP,
            "columns",
            qkv.columns,
            qkv.columns == 3 * hidden,
            (3 * hidden).to_string(),
        )?;
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
            shards > 0 && heads.is_multiple_of(shards.max(1)),
            "a divisor of the heads",
        )?;
        rule(
            OP,
            "rotary pairs",
            angles.pairs,
            2 * angles.pairs <= head_dim,
            format!("at most {}", head_dim / 2),
        )?;
        let (positions, end) = (keys.rows / heads.max(1), start + rows.len());
        let room = positions.min(angles.positions);
        rule(
            OP,
            "end of the rows",
            end,
            end <= room,
            format!("at most {room}"),
        )?;
        for matrix in [&*keys, &*values] {
            let fits = (matrix.rows, matrix.columns) == (heads * positions, head_dim);
            rule(
                OP,
                "rows of keys and values",
                matrix.rows,
                fits,
                format!("{}", heads * positions),
            )?;
        }
        let q = self.f32_zeros(heads * rows.len(), head_dim)?;
        let geometry = self.by_column(OP, hidden / 2, rows.len())?;
        let source = qkv.values.ptr().wrapping_add(rows.start * qkv.columns);
        let (sin, cos) = (angles.sin.ptr(), angles.cos.ptr());
        let (to_q, k, v) = (
            q.values.ptr_mut(),
            keys.values.ptr_mut(),
            values.values.ptr_mut(),
        );
        let number = |arg, n| count(OP, arg, n);
        let (heads, head_dim, shards) = (
            number("heads", heads)?,
            number("head_dim", head_dim)?,
            number("shards", shards)?,
        );
        let (pairs, start) = (number("pairs", angles.pairs)?, number("start", start)?);
        let positions = number("positions", positions)?;
        // SAFETY: arguments as in kernels/f32_ops.cu; extents were checked above.
        unsafe {
            self.launch(
                Kernel::SplitHeadsF32,
                geometry,
                params![
                    source, sin, cos, to_q, k, v, heads, head_dim, shards, pairs, start, positions
                ],
            )?;
        }
        Ok(q)
    }

    /// `x` `[heads * rows, head_dim]` as `[rows, heads * head_dim]`, written over the rows of `to`
    /// from `first` on.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where extents do not fit; [`KernelError::Driver`].
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
            format!("a multiple of {heads}"),
        )?;
        rule(
            OP,
            "columns",
            to.columns,
            to.columns == heads * x.columns,
            (heads * x.columns).to_string(),
        )?;
        to.check_rows(OP, &(first..first + rows))?;
        let geometry = self.by_column(OP, to.columns, rows)?;
        let (source, target) = (
            x.values.ptr(),
            to.values.ptr_mut().wrapping_add(first * to.columns),
        );
        let (heads, head_dim) = (
            count(OP, "heads", heads)?,
            count(OP, "head_dim", x.columns)?,
        );
        // SAFETY: arguments as in kernels/f32_ops.cu; extents were checked above.
        unsafe {
            self.launch(
                Kernel::MergeHeadsF32,
                geometry,
                params![source, target, heads, head_dim],
            )
        }
    }

    /// Makes row `i` of `scores` the softmax over its columns `0..=first + i`, and zero behind
    /// them.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for too many rows; [`KernelError::Driver`].
    pub fn f32_causal_softmax(
        &self,
        scores: &mut F32Matrix,
        first: usize,
    ) -> Result<(), KernelError> {
        const OP: &str = "softmax";
        let geometry = Geometry {
            grid: (count(OP, "rows", scores.rows)?, 1, 1),
            block: THREADS as u32,
        };
        let (x, columns, first) = (
            scores.values.ptr_mut(),
            count(OP, "columns", scores.columns)?,
            count(OP, "first", first)?,
        );
        // SAFETY: arguments as in kernels/f32_ops.cu, which takes the extents of the matrix.
        unsafe {
            self.launch(
                Kernel::CausalSoftmaxF32,
                geometry,
                params![x, columns, first],
            )
        }
    }
}
