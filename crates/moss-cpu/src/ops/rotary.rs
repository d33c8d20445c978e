//! Rotary position embedding in GPT-J style: elements `2i` and `2i + 1` of a head are rotated as a
//! pair. Only the first `rotary_dim` elements are rotated. Source: RoFormer, arXiv 2104.09864,
//! section 3.4.

use candle_core::{Device, Tensor};
use half::f16;
use moss_weights::Extent;

use super::{
    check::{expect_cpu, shape_error},
    floats::map_chunks,
};
use crate::{KernelError, Rule};

const OP: &str = "rotary";

/// Precision of the rotary frequencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RopePrecision {
    /// The precision of training.
    #[default]
    F32,
    /// Frequencies rounded to f16, as the published code computes them for quantized models. The
    /// error is up to 0.76 rad within 2048 positions.
    F16,
}

/// Sines and cosines of all positions, `[context_length, rotary_dim / 2]` each.
#[derive(Debug)]
pub struct RopeTable {
    sin: Vec<f32>,
    cos: Vec<f32>,
    pairs: usize,
}

impl RopeTable {
    /// Builds the table for positions `0..context_length`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for an odd `rotary_dim`.
    pub fn new(
        rotary_dim: usize,
        context_length: usize,
        precision: RopePrecision,
        device: &Device,
    ) -> Result<Self, KernelError> {
        expect_cpu(OP, device)?;
        let (sin, cos) = rope_angles(rotary_dim, context_length, precision)?;
        Ok(Self {
            sin,
            cos,
            pairs: rotary_dim / 2,
        })
    }

    /// Returns the sines, `[context_length, rotary_dim / 2]`, row-major.
    pub fn sin(&self) -> &[f32] {
        &self.sin
    }

    /// Returns the cosines, in the same shape.
    pub fn cos(&self) -> &[f32] {
        &self.cos
    }

    /// Returns the number of pairs that are rotated.
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// Returns the number of positions in the table.
    fn positions(&self) -> usize {
        self.sin.len().checked_div(self.pairs).unwrap_or(usize::MAX)
    }
}

/// Returns sines and cosines, `[context_length, rotary_dim / 2]` each.
fn rope_angles(
    rotary_dim: usize,
    context_length: usize,
    precision: RopePrecision,
) -> Result<(Vec<f32>, Vec<f32>), KernelError> {
    if !rotary_dim.is_multiple_of(2) {
        return Err(KernelError::Argument {
            op: OP,
            arg: "rotary_dim",
            found: rotary_dim,
            rule: Rule::Even,
        });
    }
    // The published code builds quantized models with f16 as the default dtype, so each step is
    // rounded.
    let round = |value: f32| match precision {
        RopePrecision::F32 => value,
        RopePrecision::F16 => f16::from_f32(value).to_f32(),
    };
    let frequency = |pair: usize| {
        let exponent = round((2 * pair) as f32 / rotary_dim as f32);
        round(1.0 / round(10_000f32.powf(exponent)))
    };
    let frequencies: Vec<f32> = (0..rotary_dim / 2).map(frequency).collect();
    let angles = || {
        (0..context_length).flat_map(|at| {
            frequencies
                .iter()
                .map(move |frequency| at as f32 * frequency)
        })
    };
    Ok((
        angles().map(f32::sin).collect(),
        angles().map(f32::cos).collect(),
    ))
}

/// Rotates every head of each row by the position of the row.
///
/// # Shapes
/// - `x`: `[rows, heads, head_dim]`, f32, f16 or bf16; `positions`: `[rows]`; the result has the
///   shape and type of `x`
///
/// # Errors
/// [`KernelError::Shape`] for an `x` of another shape; [`KernelError::Argument`] for a position past
/// the table.
pub fn rotary(x: &Tensor, table: &RopeTable, positions: &[u32]) -> Result<Tensor, KernelError> {
    let &[rows, heads, head_dim] = x.dims() else {
        return Err(shape_error(
            OP,
            "x",
            x,
            ["rows".into(), "heads".into(), "head_dim".into()],
        ));
    };
    if rows != positions.len() || heads == 0 || head_dim < (2 * table.pairs).max(1) {
        let head_dim = Extent::AtLeast((2 * table.pairs).max(1));
        let expected = [positions.len().into(), Extent::AtLeast(1), head_dim];
        return Err(shape_error(OP, "x", x, expected));
    }
    if let Some(&position) = positions
        .iter()
        .find(|position| **position as usize >= table.positions())
    {
        let rule = Rule::Below(table.positions());
        return Err(KernelError::Argument {
            op: OP,
            arg: "position",
            found: position as usize,
            rule,
        });
    }
    map_chunks(OP, x, heads * head_dim, x.dtype(), |row, values| {
        let angles = positions[row] as usize * table.pairs;
        let (sin, cos) = (
            &table.sin[angles..][..table.pairs],
            &table.cos[angles..][..table.pairs],
        );
        for head in values.chunks_exact_mut(head_dim) {
            for ((pair, sin), cos) in head.chunks_exact_mut(2).zip(sin).zip(cos) {
                let (even, odd) = (pair[0], pair[1]);
                pair[0] = even * cos - odd * sin;
                pair[1] = odd * cos + even * sin;
            }
        }
    })
}
