//! GPTQ matrix product with inputs rounded to bytes, straight from the published packing.
//!
//! A word of `qweight` holds consecutive inputs of one output, which is what instructions for sums of products of bytes read: lanes run along
//! the outputs, and the same four inputs stand in every lane. Within a piece (a group of inputs, or a part of a long one) with
//! `z = stored zero + 1` and `x[k] ~ step * r[k]`,
//!
//! ```text
//! y[n] += scale[g][n] * step * (sum_k r[k] * q[k][n]  -  z[g][n] * sum_k r[k])
//! ```
//! The bracket is exact, since it and both its terms are whole numbers below 2^24. What follows is one product, one product and one
//! sum in f32, rounded each time: every instruction set gives the same bits, for few rows or many.

mod inputs;
mod many_rows;
mod one_row;

use rayon::prelude::*;

use self::{
    many_rows::{ManyRows, Room},
    one_row::OneRow,
};
use super::{PANEL_STRIP, Packed, strip::Strip};
use crate::{
    cpu::{Isa, out::Out, simd::Simd},
    weight::GptqBits,
};

pub(crate) use inputs::{Inputs, Rounded};

/// `y` is `[rows, outputs]`.
pub(crate) fn matmul(isa: Isa, x: Inputs<'_>, weight: &Packed<'_>, y: &mut [f32]) {
    match weight.bits {
        GptqBits::Four => run::<4, 8>(isa, x, weight, y),
        GptqBits::Eight => run::<8, 4>(isa, x, weight, y),
    }
}

fn run<const BITS: u32, const PER: usize>(isa: Isa, x: Inputs<'_>, weight: &Packed<'_>, y: &mut [f32]) {
    let (rows, outputs) = (x.rows, weight.outputs);
    assert_eq!(y.len(), rows * outputs);
    weight.check();
    let x = &Rounded::new::<PER>(isa, x, weight.segments);
    let out = Out::new(y, outputs);
    let step = if rows == 1 { weight.row_strip() } else { PANEL_STRIP };
    let task = |task: usize| {
        let first = task * step;
        Task { x, strip: Strip::<BITS, PER> { weight, first, end: (first + step).min(outputs), out } }
    };
    let tasks = (0..outputs.div_ceil(step)).into_par_iter().map(task);
    match rows {
        1 => tasks.for_each(|task| isa.run_dots(OneRow(task))),
        _ => tasks.for_each_init(|| Room::new(x), |room, task| isa.run_dots(ManyRows { task, room })),
    }
}

/// A strip of outputs for all rows.
#[derive(Clone, Copy)]
struct Task<'a, const BITS: u32, const PER: usize> {
    x: &'a Rounded,
    strip: Strip<'a, BITS, PER>,
}

impl<const BITS: u32, const PER: usize> Task<'_, BITS, PER> {
    /// Words of bytes that a packed word becomes.
    const WORDS: usize = PER / 4;

    /// The bytes of packed words: all their inputs, or first the even and then the odd ones, as [`Rounded`] orders them.
    #[inline(always)]
    unsafe fn bytes<S: Simd>(words: S::I, part: usize) -> S::I {
        // SAFETY: the instruction set is there.
        unsafe {
            match (BITS, part) {
                (8, _) => words,
                (_, 0) => S::even_nibbles(words),
                _ => S::even_nibbles(S::shift_right::<4>(words)),
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
            S::add(y, S::mul(S::mul(bracket, S::splat(step)), scales))
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
                            sum += field as i32 * i32::from(x[inputs::place::<PER>(at)]);
                        }
                    }
                    let (step, inputs) = (self.x.steps(index, row)[0], self.x.sums(index, row)[0]);
                    let bracket = sum as f32 - self.strip.zero(piece.group, output) * inputs;
                    y += bracket * step * self.strip.scale(piece.group, output);
                }
                // SAFETY: an output of this task.
                unsafe { *self.strip.out.at(row, output) = y + self.strip.bias(output) };
            }
        }
    }
}
