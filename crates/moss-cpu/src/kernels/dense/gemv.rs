//! GEMV for decode: up to four dot products per output, on the weight as it is stored. Each weight
//! is read once, so memory bandwidth is the limit.

use super::task::{BLOCK, Task};
use crate::kernels::{
    element::Element,
    prefetch::{prefetch_once, reads_past_caches},
    simd::{Chunk, Kernel, Simd},
};

/// Inputs that are read from one block before the kernel reads the next block: 128 halves are four
/// cache lines.
const BURST: usize = 128;
/// Blocks between a load and the prefetch that is issued with it.
const AHEAD: usize = 3;
/// Values of `x` that stay in the first-level cache while weights stream through it.
const CACHED_INPUTS: usize = 8192;
/// Outputs that are computed together, block by block, if `x` does not stay in the cache.
const INTERLEAVED: usize = 8;

const _: () = assert!(BLOCK.is_multiple_of(BURST));

pub(super) struct Gemv<'a, E>(pub(super) Task<'a, E>);

impl<E: Element> Kernel for Gemv<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if reads_past_caches() {
            self.dot_products::<S, true>(simd);
        } else {
            self.dot_products::<S, false>(simd);
        }
    }
}

impl<E: Element> Gemv<'_, E> {
    #[inline(always)]
    fn dot_products<S: Simd, const PAST: bool>(self, simd: S) {
        match self.0.rows {
            // An addition waits for the previous one to the same sum. Rows times blocks gives at
            // least three independent sums.
            1 => self.outputs::<S, 1, 3, PAST>(simd),
            2 => self.outputs::<S, 2, 3, PAST>(simd),
            3 => self.outputs::<S, 3, 2, PAST>(simd),
            _ => self.outputs::<S, 4, 2, PAST>(simd),
        }
    }

    /// Computes the outputs for `M` rows in steps of `K` blocks. If `x` stays in the cache, one
    /// output follows the other, so that the weight is read from beginning to end.
    #[inline(always)]
    fn outputs<S: Simd, const M: usize, const K: usize, const PAST: bool>(mut self, simd: S) {
        let inputs = self.0.inputs;
        let (start, end) = (self.0.out.first(), self.0.out.first() + self.0.out.len());
        let ahead = AHEAD.div_ceil(K);
        let together = if M * inputs <= CACHED_INPUTS {
            1
        } else {
            INTERLEAVED
        };
        for first in (start..end).step_by(together) {
            let outputs = first..(first + together).min(end);
            let mut totals = [[0.0f32; M]; INTERLEAVED];
            let mut block = 0;
            while block < inputs {
                let many = block + K * BLOCK <= inputs;
                let behind = block + if many { K * BLOCK } else { BLOCK };
                for (output, totals) in outputs.clone().zip(&mut totals) {
                    let next = if together == 1 {
                        self.0.address(output, block + AHEAD * BLOCK)
                    } else if output + ahead < outputs.end {
                        self.0.address(output + ahead, block)
                    } else if behind < inputs {
                        self.0.address(output + ahead - outputs.len(), behind)
                    } else {
                        self.0.address(output + ahead, 0)
                    };
                    if many {
                        self.blocks::<S, M, K, PAST>(simd, output, block, next, totals);
                    } else if behind <= inputs {
                        self.blocks::<S, M, 1, PAST>(simd, output, block, next, totals);
                    } else {
                        self.last_block::<S, M>(simd, output, block, totals);
                    }
                }
                block = behind;
            }
            for (output, totals) in outputs.zip(totals) {
                for (row, total) in totals.into_iter().enumerate() {
                    self.0.write(row, output - start, total);
                }
            }
        }
    }

    /// Adds the products of `K` whole blocks, from input `block` on, to the totals of `M` rows.
    /// Prefetches as many bytes from `next` on.
    #[inline(always)]
    fn blocks<S: Simd, const M: usize, const K: usize, const PAST: bool>(
        &self,
        simd: S,
        output: usize,
        block: usize,
        next: *const u8,
        totals: &mut [f32; M],
    ) {
        let element = size_of::<E>();
        let weights = &self.0.weight(output)[block * element..][..K * BLOCK * element];
        let weights = E::Packed::<S>::split(weights);
        let x = self.0.x::<S, M>(block, K * BLOCK / S::LANES);
        let mut sums = [[simd.splat(0.0); 4]; M];
        // Ranges with constant ends, from which the compiler derives that `at` is in bounds.
        for burst in 0..BLOCK / BURST {
            for k in 0..K {
                for vector in 0..BURST / S::LANES {
                    let at = (k * BLOCK + burst * BURST) / S::LANES + vector;
                    if (vector * S::LANES * element).is_multiple_of(64) {
                        prefetch_once::<PAST, _>(next.wrapping_add(at * S::LANES * element));
                    }
                    let w = E::load(simd, &weights[at]);
                    for (row, sums) in sums.iter_mut().enumerate() {
                        sums[k] = simd.fma(w, simd.load(x.get(row, at)), sums[k]);
                    }
                }
            }
        }
        for (total, sums) in totals.iter_mut().zip(sums) {
            let mut blocks = [0.0; 4];
            simd.add_sums(&mut blocks, sums);
            // One block after the other, in the order of GEMM.
            for block in &blocks[..K] {
                *total += block;
            }
        }
    }

    /// Adds the products of the last inputs, from input `block` on and fewer than a block, to the
    /// totals of `M` rows.
    #[inline(always)]
    fn last_block<S: Simd, const M: usize>(
        &self,
        simd: S,
        output: usize,
        block: usize,
        totals: &mut [f32; M],
    ) {
        let inputs = self.0.inputs - block;
        let whole = inputs / S::LANES;
        let (weights, tail) = self.0.weight(output)[block * size_of::<E>()..]
            .split_at(whole * S::LANES * size_of::<E>());
        let x = self.0.x::<S, M>(block, inputs.div_ceil(S::LANES));
        let mut sums = [simd.splat(0.0); M];
        for (at, weights) in E::Packed::<S>::split(weights).iter().enumerate() {
            let w = E::load(simd, weights);
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum = simd.fma(w, simd.load(x.get(row, at)), *sum);
            }
        }
        if !tail.is_empty() {
            let w = Task::<E>::load_tail(simd, tail);
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum = simd.fma(w, simd.load(x.get(row, whole)), *sum);
            }
        }
        let zero = simd.splat(0.0);
        for (total, sum) in totals.iter_mut().zip(sums) {
            let mut blocks = [0.0; 4];
            simd.add_sums(&mut blocks, [sum, zero, zero, zero]);
            *total += blocks[0];
        }
    }
}
