//! GPTQ matrix product with inputs rounded to bytes, straight from the published packing.
//!
//! A word of `qweight` holds consecutive inputs of one output, which is what instructions for sums
//! of products of bytes read: lanes run along the outputs, and the same four inputs stand in every
//! lane. Within a piece (a group of inputs, or a part of a long one) with `z = stored zero + 1` and
//! `x[k] ~ step * r[k]`,
//!
//! ```text
//! y[n] += scale[g][n] * step * (sum_k r[k] * q[k][n]  -  z[g][n] * sum_k r[k])
//! ```
//! The bracket is exact, since it and both its terms are whole numbers below 2^24. Its product with
//! the step is rounded once, and the sum with the product with the scale once: every instruction
//! set gives the same bits, for few rows or many.

mod activations;
mod gemm;
mod gemv;

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use self::{
    gemm::{Gemm, Room},
    gemv::Gemv,
};
use super::{Packed, column_tile::ColumnTile};
use crate::{
    GptqBits,
    kernels::{Isa, disjoint_matrix::DisjointMatrix, simd::Simd},
};

pub(crate) use activations::{Inputs, Int8Activations};

/// `y` is `[rows, outputs]`.
pub(crate) fn matmul(isa: Isa, x: Inputs<'_>, weight: &Packed<'_>, y: &mut [f32]) {
    match weight.bits {
        GptqBits::Four => run::<4, 8>(isa, x, weight, y),
        GptqBits::Eight => run::<8, 4>(isa, x, weight, y),
    }
}

fn run<const BITS: u32, const PER: usize>(
    isa: Isa,
    x: Inputs<'_>,
    weight: &Packed<'_>,
    y: &mut [f32],
) {
    let (rows, outputs) = (x.rows, weight.outputs);
    assert_eq!(y.len(), rows * outputs);
    weight.check();
    let x = &Int8Activations::new::<PER>(isa, x, weight.segments);
    let out = DisjointMatrix::new(y, outputs);
    let step = if rows == 1 {
        weight.row_strip()
    } else {
        gemm::strip(outputs)
    };
    let task = |task: usize| {
        let first = task * step;
        Task {
            x,
            strip: ColumnTile::<BITS, PER> {
                weight,
                first,
                end: (first + step).min(outputs),
                out,
            },
        }
    };
    let tasks = outputs.div_ceil(step);
    match rows {
        1 => (0..tasks)
            .into_par_iter()
            .with_max_len(1)
            .for_each(|at| isa.run_dots(Gemv(task(at)))),
        // One after the other to whoever is free, and each thread its own room: halves of a range
        // leave the faster thread idle.
        _ => {
            let next = AtomicUsize::new(0);
            rayon::broadcast(|_| {
                let mut room = None;
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= tasks {
                        break;
                    }
                    let room = room.get_or_insert_with(|| Room::new(x));
                    isa.run_dots(Gemm {
                        task: task(at),
                        room,
                    });
                }
            });
        }
    }
}

/// A strip of outputs for all rows.
#[derive(Clone, Copy)]
struct Task<'a, const BITS: u32, const PER: usize> {
    x: &'a Int8Activations,
    strip: ColumnTile<'a, BITS, PER>,
}

impl<const BITS: u32, const PER: usize> Task<'_, BITS, PER> {
    /// Words of bytes that a packed word becomes.
    const WORDS: usize = PER / 4;

    /// The bytes of packed words: all their inputs, or first the even and then the odd ones, as
    /// [`Int8Activations`] orders them.
    #[inline(always)]
    unsafe fn bytes<S: Simd>(words: S::I, part: usize) -> S::I {
        // SAFETY: the instruction set is there.
        unsafe {
            match (BITS, part) {
                (8, _) => words,
                (_, 0) => S::even_nibbles(words),
                _ => S::even_nibbles(S::shift_right(words, 4)),
            }
        }
    }

    /// Adds a piece to the results `y`; `sums` are its sums of products.
    #[inline(always)]
    unsafe fn close<S: Simd>(
        y: S::F,
        sums: S::I,
        (zeros, scales): (S::F, S::F),
        (step, sum): (f32, f32),
    ) -> S::F {
        // SAFETY: the instruction set is there.
        unsafe {
            let bracket = S::fma(zeros, S::splat(-sum), S::signed(sums));
            S::fused(S::mul(bracket, S::splat(step)), scales, y)
        }
    }

    /// Outputs that fill no vector, one by one, in the same order of sums.
    fn single_outputs(&self, from: usize) {
        for output in from..self.strip.end {
            for row in 0..self.x.rows {
                let mut y = 0.0;
                for (index, piece) in self.x.pieces.iter().enumerate() {
                    let mut sum = 0i32;
                    for (packed, x) in self.x.row(index, row).chunks_exact(PER).enumerate() {
                        let fields = self.strip.fields(piece.first_row + packed, output);
                        for (at, field) in fields.into_iter().enumerate() {
                            sum += field as i32 * i32::from(x[activations::place::<PER>(at)]);
                        }
                    }
                    let (step, inputs) = (self.x.steps(index, row)[0], self.x.sums(index, row)[0]);
                    let bracket = sum as f32 - self.strip.zero(piece.group, output) * inputs;
                    y = (bracket * step).mul_add(self.strip.scale(piece.group, output), y);
                }
                // SAFETY: an output of this task.
                unsafe { *self.strip.out.at(row, output) = y + self.strip.bias(output) };
            }
        }
    }
}
