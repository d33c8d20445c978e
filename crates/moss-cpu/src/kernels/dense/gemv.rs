//! Few rows: dot products straight from the file, which is read once (bandwidth-bound).

use super::{BLOCK, Element, Task};
use crate::kernels::{
    isa::reads_past_caches,
    simd::{Kernel, Simd},
};

/// Inputs of a block that are read before those of the block beside it: 128 halves are four cache
/// lines.
const BURST: usize = 128;
/// Blocks that are asked for ahead of their use.
const AHEAD: usize = 3;
/// Values of `x` that stay in the first-level cache while a weight passes by.
const NEAR: usize = 8192;
/// Outputs that take a piece of `x` in turns where all of it would not stay.
const TURNS: usize = 8;

const _: () = assert!(BLOCK.is_multiple_of(BURST));

pub(super) struct Gemv<'a, E>(pub(super) Task<'a, E>);

impl<E: Element> Kernel for Gemv<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's.
        unsafe {
            if reads_past_caches() {
                self.dot_products::<S, true>()
            } else {
                self.dot_products::<S, false>()
            }
        }
    }
}

impl<E: Element> Gemv<'_, E> {
    /// # Safety
    /// The instruction set is there.
    #[inline(always)]
    unsafe fn dot_products<S: Simd, const PAST: bool>(&self) {
        // SAFETY: the caller's; `rows`, one to four, is what it is matched with.
        unsafe {
            match self.0.rows {
                // A chain of additions waits for itself: with rows and blocks, three at least are
                // under way in whole pieces.
                1 => self.outputs::<S, 1, 3, PAST>(),
                2 => self.outputs::<S, 2, 3, PAST>(),
                3 => self.outputs::<S, 3, 2, PAST>(),
                _ => self.outputs::<S, 4, 2, PAST>(),
            }
        }
    }

    /// Pieces of `K` blocks, one output after the other: where one output takes all of `x` at once,
    /// the weight is read from its beginning to its end.
    ///
    /// # Safety
    /// The instruction set is there, and there are `M` rows.
    #[inline(always)]
    unsafe fn outputs<S: Simd, const M: usize, const K: usize, const PAST: bool>(&self) {
        let inputs = self.0.inputs;
        let ahead = AHEAD.div_ceil(K);
        let turns = if M * inputs <= NEAR { 1 } else { TURNS };
        for first in (self.0.first..self.0.end).step_by(turns) {
            let outputs = first..(first + turns).min(self.0.end);
            let mut totals = [[0.0f32; M]; TURNS];
            let mut block = 0;
            while block < inputs {
                let many = block + K * BLOCK <= inputs;
                let behind = block + if many { K * BLOCK } else { BLOCK };
                for (output, totals) in outputs.clone().zip(&mut totals) {
                    let next = if turns == 1 {
                        self.weight(output, block + AHEAD * BLOCK)
                    } else if output + ahead < outputs.end {
                        self.weight(output + ahead, block)
                    } else if behind < inputs {
                        self.weight(output + ahead - outputs.len(), behind)
                    } else {
                        self.weight(output + ahead, 0)
                    };
                    // SAFETY: the caller's; the blocks lie within the row.
                    unsafe {
                        if many {
                            self.whole_blocks::<S, M, K, PAST>(output, block, next, totals);
                        } else if behind <= inputs {
                            self.whole_blocks::<S, M, 1, PAST>(output, block, next, totals);
                        } else {
                            self.last_block::<S, M>(output, block, totals);
                        }
                    }
                }
                block = behind;
            }
            for (output, totals) in outputs.zip(totals) {
                for (m, total) in totals.into_iter().enumerate() {
                    // SAFETY: a row and an output of this task.
                    unsafe { self.0.write(m, output, total) };
                }
            }
        }
    }

    /// Where the weight of an output and an input lies, or would lie.
    #[inline(always)]
    fn weight(&self, output: usize, input: usize) -> *const u8 {
        self.0
            .weight
            .as_ptr()
            .wrapping_add((output * self.0.inputs + input) * E::BYTES)
    }

    /// Adds `K` blocks, which begin at the input `block`, to the totals of `M` rows, and asks for
    /// as much from `next` on.
    ///
    /// # Safety
    /// The instruction set is there, the task has `M` rows, the output and these inputs.
    #[inline(always)]
    unsafe fn whole_blocks<S: Simd, const M: usize, const K: usize, const PAST: bool>(
        &self,
        output: usize,
        block: usize,
        next: *const u8,
        totals: &mut [f32; M],
    ) {
        let task = &self.0;
        let stride = task.stride();
        // SAFETY: rows of `x` have `stride` values, rows of the weight `inputs` elements. The
        // prefetch may point anywhere.
        unsafe {
            let mut sums = [[S::splat(0.0); 4]; M];
            let x = task.x.as_ptr().add(block);
            let weight = self.weight(output, block);
            for burst in (0..BLOCK).step_by(BURST) {
                for k in 0..K {
                    for at in (0..BURST).step_by(S::LANES) {
                        let at = k * BLOCK + burst + at;
                        let from = weight.add(at * E::BYTES);
                        if (at * E::BYTES).is_multiple_of(64) {
                            S::prefetch_once::<PAST>(next.wrapping_add(at * E::BYTES));
                        }
                        let w = E::load::<S>(from);
                        for (m, sums) in sums.iter_mut().enumerate() {
                            sums[k] = S::fma(w, S::load(x.add(m * stride + at)), sums[k]);
                        }
                    }
                }
            }
            for (total, sums) in totals.iter_mut().zip(sums) {
                let mut blocks = [0.0; 4];
                S::add_sums(blocks.as_mut_ptr(), sums);
                // One after the other, as many rows have them.
                for block in &blocks[..K] {
                    *total += block;
                }
            }
        }
    }

    /// Adds what is behind the last whole block, from the input `block`, to the totals of `M` rows.
    ///
    /// # Safety
    /// The instruction set is there, the task has `M` rows, the output, and less than a block of
    /// inputs from there.
    #[inline(always)]
    unsafe fn last_block<S: Simd, const M: usize>(
        &self,
        output: usize,
        block: usize,
        totals: &mut [f32; M],
    ) {
        let task = &self.0;
        let (inputs, stride) = (task.inputs, task.stride());
        let whole = inputs / S::LANES * S::LANES;
        // SAFETY: vectors start below `whole`, or are the last, behind which `x` has zeros.
        unsafe {
            let mut sums = [S::splat(0.0); M];
            let weight = self.weight(output, 0);
            for at in (block..inputs).step_by(S::LANES) {
                let w = match at < whole {
                    true => E::load::<S>(weight.add(at * E::BYTES)),
                    false => task.load_tail::<S>(output, whole),
                };
                for (m, sum) in sums.iter_mut().enumerate() {
                    *sum = S::fma(w, S::load(task.x.as_ptr().add(m * stride + at)), *sum);
                }
            }
            let none = S::splat(0.0);
            for (total, sum) in totals.iter_mut().zip(sums) {
                let mut blocks = [0.0; 4];
                S::add_sums(blocks.as_mut_ptr(), [sum, none, none, none]);
                *total += blocks[0];
            }
        }
    }
}
