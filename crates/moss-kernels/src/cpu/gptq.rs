//! GPTQ matrix product, `y = x W^T + bias`, straight from the published packing.
//!
//! `qweight` rows run along the outputs, so lanes run along them too: each task reads long contiguous runs of the file. Within a
//! group of inputs, with `z = stored zero + 1`,
//!
//! ```text
//! y[n] += scale[g][n] * (sum_k x[k] * q[k][n]  -  z[g][n] * sum_k x[k])
//! ```
//! and the bracket is summed input by input, beginning with its second term. Few rows or many, every output is summed in this
//! order, so a row's result does not depend on how many rows there are.
//!
//! Cost: one row reads the packed weight once (bandwidth-bound, about three instructions for a vector of weights); many rows
//! widen each group once and are bound by arithmetic.

use rayon::prelude::*;

use super::{
    Isa,
    out::Out,
    simd::{Kernel, Simd},
};
use crate::weight::GptqBits;

/// Outputs of one task for a single row, at most: 12 KB runs of the file, with their sums in the first-level cache.
const ROW_STRIP: usize = 3072;
/// And at least: below, the prefetchers find nothing to follow.
const SHORTEST_STRIP: usize = 256;
/// Outputs of one task for many rows: a widened group stays in the first-level cache.
const PANEL_STRIP: usize = 64;
/// Rows of packed words that the prefetch runs ahead: the next two.
const AHEAD: usize = 2;

/// Consecutive packed rows that share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// First row of words in `qweight`.
    pub(crate) first_row: usize,
    /// Rows of words.
    pub(crate) rows: usize,
    /// Row of `scales` and `qzeros`.
    pub(crate) group: usize,
}

/// A packed matrix whose lengths have been checked.
pub(crate) struct Packed<'a> {
    pub(crate) bits: GptqBits,
    pub(crate) outputs: usize,
    /// Words of zero points a group.
    pub(crate) zero_words: usize,
    /// i32 `[rows of words, outputs]`
    pub(crate) qweight: &'a [u8],
    /// i32 `[groups, zero_words]`
    pub(crate) qzeros: &'a [u8],
    /// f16 `[groups, outputs]`
    pub(crate) scales: &'a [u8],
    pub(crate) segments: &'a [Segment],
    pub(crate) bias: Option<&'a [f32]>,
}

impl Packed<'_> {
    /// Inputs, those included that only fill up a word.
    fn inputs(&self) -> usize {
        self.qweight.len() / 4 / self.outputs.max(1) * self.bits.per_word()
    }
}

/// `x` is `[rows, inputs]`, in the order of the packed rows; `y` is `[rows, outputs]`.
pub(crate) fn matmul(isa: Isa, x: &[f32], rows: usize, weight: &Packed<'_>, y: &mut [f32]) {
    match weight.bits {
        GptqBits::Four => run::<4, 8>(isa, x, rows, weight, y),
        GptqBits::Eight => run::<8, 4>(isa, x, rows, weight, y),
    }
}

fn run<const BITS: u32, const PER: usize>(
    isa: Isa,
    x: &[f32],
    rows: usize,
    weight: &Packed<'_>,
    y: &mut [f32],
) {
    let (inputs, outputs) = (weight.inputs(), weight.outputs);
    let groups = weight.segments.iter().map(|segment| segment.group + 1).max().unwrap_or(0);
    let last_row = weight.segments.iter().map(|segment| segment.first_row + segment.rows).max().unwrap_or(0);
    assert!(x.len() == rows * inputs && y.len() == rows * outputs && last_row * PER <= inputs);
    assert!(
        weight.scales.len() >= groups * outputs * 2 && weight.qzeros.len() >= groups * weight.zero_words * 4
    );
    assert!(weight.zero_words * PER >= outputs && weight.bias.is_none_or(|bias| bias.len() == outputs));

    // The same for all outputs: the sum of each group's inputs, negated.
    let sums: Vec<f32> = (0..rows)
        .flat_map(|row| {
            let x = &x[row * inputs..][..inputs];
            weight.segments.iter().map(move |segment| {
                let group = &x[segment.first_row * PER..][..segment.rows * PER];
                -group.iter().map(|x| f64::from(*x)).sum::<f64>() as f32
            })
        })
        .collect();
    let out = Out::new(y, outputs);
    // As long as they can be while every thread gets one; where they are cut changes no sum.
    let share = outputs.div_ceil(rayon::current_num_threads()).next_multiple_of(SHORTEST_STRIP);
    let step = if rows == 1 { share.min(ROW_STRIP) } else { PANEL_STRIP };
    (0..outputs.div_ceil(step)).into_par_iter().for_each(|task| {
        let first = task * step;
        let task = Task::<BITS, PER> {
            x,
            rows,
            inputs,
            sums: &sums,
            weight,
            first,
            end: (first + step).min(outputs),
            out,
        };
        if rows == 1 { isa.run(OneRow(task)) } else { isa.run(ManyRows(task)) }
    });
}

/// The outputs `first..end` for all rows. `run` has checked that the slices have these extents.
#[derive(Clone, Copy)]
struct Task<'a, const BITS: u32, const PER: usize> {
    x: &'a [f32],
    rows: usize,
    inputs: usize,
    /// Negated sums of inputs, `[rows, segments]`.
    sums: &'a [f32],
    weight: &'a Packed<'a>,
    first: usize,
    end: usize,
    out: Out<'a>,
}

impl<const BITS: u32, const PER: usize> Task<'_, BITS, PER> {
    /// Packed words of `row` from output `output` on.
    #[inline(always)]
    unsafe fn words(&self, row: usize, output: usize) -> *const u8 {
        // SAFETY: the caller names a row and an output that exist.
        unsafe { self.weight.qweight.as_ptr().add((row * self.weight.outputs + output) * 4) }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(&self, group: usize, output: usize) -> S::F {
        // SAFETY: the caller leaves a whole vector of outputs.
        unsafe { S::load_f16(self.weight.scales.as_ptr().add((group * self.weight.outputs + output) * 2)) }
    }

    /// Zero points of a vector of outputs; `output` is a multiple of the lanes, so that whole words begin there.
    #[inline(always)]
    unsafe fn zeros<S: Simd>(&self, group: usize, output: usize) -> S::F {
        // SAFETY: the caller leaves a whole vector of outputs.
        unsafe {
            let from = self.weight.qzeros.as_ptr().add((group * self.weight.zero_words + output / PER) * 4);
            let stored = if BITS == 4 { S::nibbles(from) } else { S::bytes(from) };
            S::add(stored, S::splat(1.0))
        }
    }

    #[inline(always)]
    unsafe fn field<S: Simd>(words: S::I) -> S::F {
        // SAFETY: the instruction set is there.
        unsafe { if BITS == 4 { S::low_nibble(words) } else { S::low_byte(words) } }
    }

    /// Outputs that fill no vector, one by one, in the same order of sums.
    #[inline(always)]
    unsafe fn single_outputs<S: Simd>(&self, from: usize) {
        let word = |bytes: &[u8], at: usize| {
            u32::from_le_bytes([bytes[at * 4], bytes[at * 4 + 1], bytes[at * 4 + 2], bytes[at * 4 + 3]])
        };
        let mask = (1u32 << BITS) - 1;
        let weight = self.weight;
        for output in from..self.end {
            for row in 0..self.rows {
                let x = &self.x[row * self.inputs..][..self.inputs];
                let mut y = 0.0;
                for (index, segment) in weight.segments.iter().enumerate() {
                    let zeros = word(weight.qzeros, segment.group * weight.zero_words + output / PER);
                    let zero = (zeros >> (BITS as usize * (output % PER)) & mask) as f32 + 1.0;
                    let mut acc = zero * self.sums[row * weight.segments.len() + index];
                    for packed in segment.first_row..segment.first_row + segment.rows {
                        let mut fields = word(weight.qweight, packed * weight.outputs + output);
                        for x in &x[packed * PER..][..PER] {
                            // SAFETY: the instruction set is there.
                            acc = unsafe { S::fma_one(*x, (fields & mask) as f32, acc) };
                            fields = fields.checked_shr(BITS).unwrap_or(0);
                        }
                    }
                    let at = (segment.group * weight.outputs + output) * 2;
                    let scale = half::f16::from_le_bytes([weight.scales[at], weight.scales[at + 1]]).to_f32();
                    // SAFETY: the instruction set is there.
                    y = unsafe { S::fma_one(scale, acc, y) };
                }
                let bias = weight.bias.map_or(0.0, |bias| bias[output]);
                // SAFETY: an output of this task.
                unsafe { *self.out.at(row, output) = y + bias };
            }
        }
    }

    #[inline(always)]
    unsafe fn add_bias<S: Simd>(&self, output: usize, value: S::F) -> S::F {
        match self.weight.bias {
            // SAFETY: the caller leaves a whole vector of outputs.
            Some(bias) => unsafe { S::add(value, S::load(bias.as_ptr().add(output))) },
            None => value,
        }
    }
}

/// One row: the brackets of a strip of outputs stay in the first-level cache while the packed rows stream by.
struct OneRow<'a, const BITS: u32, const PER: usize>(Task<'a, BITS, PER>);

impl<const BITS: u32, const PER: usize> Kernel for OneRow<'_, BITS, PER> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let task = self.0;
        let whole = (task.end - task.first) / S::LANES * S::LANES;
        let mut acc = [0.0f32; ROW_STRIP];
        let mut y = [0.0f32; ROW_STRIP];
        // SAFETY: vectors lie below `whole`, within the strip and within the weight's outputs.
        unsafe {
            for (index, segment) in task.weight.segments.iter().enumerate() {
                let sum = S::splat(task.sums[index]);
                for at in (0..whole).step_by(S::LANES) {
                    let zeros = task.zeros::<S>(segment.group, task.first + at);
                    S::store(acc.as_mut_ptr().add(at), S::mul(zeros, sum));
                }
                let mut row = segment.first_row;
                let end = segment.first_row + segment.rows;
                // Two packed rows at a time where there are two: half the traffic of partial sums.
                while row + 2 <= end {
                    Self::rows::<S, 2>(&task, row, whole, &mut acc);
                    row += 2;
                }
                if row < end {
                    Self::rows::<S, 1>(&task, row, whole, &mut acc);
                }
                for at in (0..whole).step_by(S::LANES) {
                    let scales = task.scales::<S>(segment.group, task.first + at);
                    let y = y.as_mut_ptr().add(at);
                    S::store(y, S::fma(scales, S::load(acc.as_ptr().add(at)), S::load(y)));
                }
            }
            for at in (0..whole).step_by(S::LANES) {
                let value = task.add_bias::<S>(task.first + at, S::load(y.as_ptr().add(at)));
                S::store(task.out.at(0, task.first + at), value);
            }
            task.single_outputs::<S>(task.first + whole);
        }
    }
}

impl<const BITS: u32, const PER: usize> OneRow<'_, BITS, PER> {
    /// Adds the products of `R` packed rows.
    #[inline(always)]
    unsafe fn rows<S: Simd, const R: usize>(
        task: &Task<'_, BITS, PER>,
        row: usize,
        whole: usize,
        acc: &mut [f32; ROW_STRIP],
    ) {
        // SAFETY: the caller's; the prefetch may point anywhere.
        unsafe {
            let mut x = [[S::splat(0.0); PER]; R];
            for (r, x) in x.iter_mut().enumerate() {
                for (k, x) in x.iter_mut().enumerate() {
                    *x = S::splat(task.x[(row + r) * PER + k]);
                }
            }
            let from = task.words(row, task.first);
            let stride = task.weight.outputs * 4;
            for at in (0..whole).step_by(S::LANES) {
                let mut sum = S::load(acc.as_ptr().add(at));
                for (r, x) in x.iter().enumerate() {
                    let from = from.add(r * stride + at * 4);
                    S::prefetch(from.wrapping_add(AHEAD * stride));
                    let mut words = S::load_words(from);
                    for x in x {
                        sum = S::fma(*x, Self::field::<S>(words), sum);
                        words = S::shift_right::<BITS>(words);
                    }
                }
                S::store(acc.as_mut_ptr().add(at), sum);
            }
        }
    }

    #[inline(always)]
    unsafe fn field<S: Simd>(words: S::I) -> S::F {
        // SAFETY: the caller's.
        unsafe { Task::<BITS, PER>::field::<S>(words) }
    }
}

/// Many rows: a group of the strip is widened once, then multiplied tile by tile.
struct ManyRows<'a, const BITS: u32, const PER: usize>(Task<'a, BITS, PER>);

impl<const BITS: u32, const PER: usize> Kernel for ManyRows<'_, BITS, PER> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let task = self.0;
        let whole = (task.end - task.first) / S::LANES * S::LANES;
        let longest = task.weight.segments.iter().map(|segment| segment.rows).max().unwrap_or(0);
        let mut panel = vec![0.0f32; longest * PER * PANEL_STRIP];
        // SAFETY: vectors lie below `whole`, within the strip and within the weight's outputs.
        unsafe {
            for row in 0..task.rows {
                for at in (0..whole).step_by(S::LANES) {
                    S::store(task.out.at(row, task.first + at), S::splat(0.0));
                }
            }
            for index in 0..task.weight.segments.len() {
                Self::widen::<S>(&task, index, whole, &mut panel);
                Self::multiply::<S>(&task, index, whole, &panel);
            }
            for row in 0..task.rows {
                for at in (0..whole).step_by(S::LANES) {
                    let out = task.out.at(row, task.first + at);
                    S::store(out, task.add_bias::<S>(task.first + at, S::load(out)));
                }
            }
            task.single_outputs::<S>(task.first + whole);
        }
    }
}

impl<const BITS: u32, const PER: usize> ManyRows<'_, BITS, PER> {
    /// Packed fields as numbers, `[inputs of the group, PANEL_STRIP]`.
    #[inline(always)]
    unsafe fn widen<S: Simd>(task: &Task<'_, BITS, PER>, index: usize, whole: usize, panel: &mut [f32]) {
        let segment = task.weight.segments[index];
        // SAFETY: the caller's; the panel holds the longest group.
        unsafe {
            for row in 0..segment.rows {
                for at in (0..whole).step_by(S::LANES) {
                    let mut words = S::load_words(task.words(segment.first_row + row, task.first + at));
                    for k in 0..PER {
                        let to = panel.as_mut_ptr().add((row * PER + k) * PANEL_STRIP + at);
                        S::store(to, Task::<BITS, PER>::field::<S>(words));
                        words = S::shift_right::<BITS>(words);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply<S: Simd>(task: &Task<'_, BITS, PER>, index: usize, whole: usize, panel: &[f32]) {
        let mut row = 0;
        // SAFETY: the caller's; tiles stay within `rows` and `whole`.
        unsafe {
            while row + S::PACKED_ROWS <= task.rows {
                match S::PACKED_ROWS {
                    6 => Self::tiles::<S, 6>(task, index, row, whole, panel),
                    _ => Self::tiles::<S, 2>(task, index, row, whole, panel),
                }
                row += S::PACKED_ROWS;
            }
            while row < task.rows {
                Self::tiles::<S, 1>(task, index, row, whole, panel);
                row += 1;
            }
        }
    }

    #[inline(always)]
    unsafe fn tiles<S: Simd, const M: usize>(
        task: &Task<'_, BITS, PER>,
        index: usize,
        row: usize,
        whole: usize,
        panel: &[f32],
    ) {
        let mut at = 0;
        // SAFETY: the caller's.
        unsafe {
            while at + 4 * S::LANES <= whole {
                Self::tile::<S, M, 4>(task, index, row, at, panel);
                at += 4 * S::LANES;
            }
            while at < whole {
                Self::tile::<S, M, 1>(task, index, row, at, panel);
                at += S::LANES;
            }
        }
    }

    /// One group's share of `M` rows by `N` vectors of outputs.
    #[inline(always)]
    unsafe fn tile<S: Simd, const M: usize, const N: usize>(
        task: &Task<'_, BITS, PER>,
        index: usize,
        row: usize,
        at: usize,
        panel: &[f32],
    ) {
        let segment = task.weight.segments[index];
        let segments = task.weight.segments.len();
        // SAFETY: the caller's.
        unsafe {
            let mut acc = [[S::splat(0.0); N]; M];
            for n in 0..N {
                let zeros = task.zeros::<S>(segment.group, task.first + at + n * S::LANES);
                for (m, acc) in acc.iter_mut().enumerate() {
                    acc[n] = S::mul(zeros, S::splat(task.sums[(row + m) * segments + index]));
                }
            }
            let x = task.x.as_ptr().add(row * task.inputs + segment.first_row * PER);
            let panel = panel.as_ptr().add(at);
            for k in 0..segment.rows * PER {
                let mut q = [S::splat(0.0); N];
                for (n, q) in q.iter_mut().enumerate() {
                    *q = S::load(panel.add(k * PANEL_STRIP + n * S::LANES));
                }
                for (m, acc) in acc.iter_mut().enumerate() {
                    let x = S::splat(*x.add(m * task.inputs + k));
                    for n in 0..N {
                        acc[n] = S::fma(x, q[n], acc[n]);
                    }
                }
            }
            for n in 0..N {
                let scales = task.scales::<S>(segment.group, task.first + at + n * S::LANES);
                for (m, acc) in acc.iter().enumerate() {
                    let out = task.out.at(row + m, task.first + at + n * S::LANES);
                    S::store(out, S::fma(scales, acc[n], S::load(out)));
                }
            }
        }
    }
}
