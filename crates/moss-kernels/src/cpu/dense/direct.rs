//! Few rows: dot products straight from the file, which is read once (bandwidth-bound).

use super::{BLOCK, Element, Task};
use crate::cpu::simd::{Kernel, Simd};

/// How far ahead of its use a weight is asked for, in bytes.
const AHEAD: usize = 512;
/// Outputs of a tile, at most. One row reads as many rows of the weight side by side: one, two and four kept memory less busy, the
/// more so the larger the weight.
const MOST_OUTPUTS: usize = 8;

pub(super) struct Direct<'a, E>(pub(super) Task<'a, E>);

impl<E: Element> Kernel for Direct<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: `rows` is what it is matched with.
        unsafe {
            match self.0.rows {
                1 => self.outputs::<S, 1, MOST_OUTPUTS>(),
                2 => self.outputs::<S, 2, 2>(),
                3 => self.outputs::<S, 3, 2>(),
                _ => self.outputs::<S, 4, 2>(),
            }
        }
    }
}

impl<E: Element> Direct<'_, E> {
    /// # Safety
    /// The instruction set is there, and there are `M` rows.
    #[inline(always)]
    unsafe fn outputs<S: Simd, const M: usize, const N: usize>(&self) {
        let mut output = self.0.first;
        // SAFETY: tiles stay within `first..end` and `M` rows.
        unsafe {
            while output + N <= self.0.end {
                self.tile::<S, M, N>(output);
                output += N;
            }
            while output < self.0.end {
                self.tile::<S, M, 1>(output);
                output += 1;
            }
        }
    }

    /// `M` rows by `N` outputs, at most [`MOST_OUTPUTS`].
    ///
    /// # Safety
    /// The instruction set is there, the task has `M` rows and the outputs `output..output + N`.
    #[inline(always)]
    unsafe fn tile<S: Simd, const M: usize, const N: usize>(&self, output: usize) {
        let task = &self.0;
        let (inputs, stride) = (task.inputs, task.stride());
        let whole = inputs / S::LANES * S::LANES;
        let mut totals = [[0.0f32; MOST_OUTPUTS]; M];
        // SAFETY: rows of `x` have `stride` values, rows of the weight `inputs` elements; vectors start below `whole`. The
        // prefetch may point anywhere.
        unsafe {
            let weight = task.weight.as_ptr().add(output * inputs * E::BYTES);
            for block in (0..inputs).step_by(BLOCK) {
                let mut sums = [[S::splat(0.0); MOST_OUTPUTS]; M];
                let end = whole.min(block + BLOCK);
                let mut at = block;
                while at < end {
                    // No closures here: they would not take on the instruction set of the function around them.
                    let mut x = [S::splat(0.0); M];
                    for (m, x) in x.iter_mut().enumerate() {
                        *x = S::load(task.x.as_ptr().add(m * stride + at));
                    }
                    for n in 0..N {
                        let from = weight.add((n * inputs + at) * E::BYTES);
                        S::prefetch(from.wrapping_add(AHEAD));
                        let w = E::load::<S>(from);
                        for (sums, x) in sums.iter_mut().zip(x) {
                            sums[n] = S::fma(w, x, sums[n]);
                        }
                    }
                    at += S::LANES;
                }
                if whole < inputs && inputs - block <= BLOCK {
                    for n in 0..N {
                        let w = task.load_tail::<S>(output + n, whole);
                        for (m, sums) in sums.iter_mut().enumerate() {
                            let x = S::load(task.x.as_ptr().add(m * stride + whole));
                            sums[n] = S::fma(w, x, sums[n]);
                        }
                    }
                }
                for (totals, sums) in totals.iter_mut().zip(sums) {
                    for n in (0..N).step_by(4) {
                        let four = [sums[n], sums[n + 1], sums[n + 2], sums[n + 3]];
                        S::add_sums(totals.as_mut_ptr().add(n), four);
                    }
                }
            }
            for (m, totals) in totals.iter().enumerate() {
                for (n, total) in totals[..N].iter().enumerate() {
                    task.write(m, output + n, *total);
                }
            }
        }
    }
}
