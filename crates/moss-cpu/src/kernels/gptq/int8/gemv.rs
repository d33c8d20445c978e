//! One row: the packed weight is read once (bandwidth-bound, an instruction or three for a vector
//! of words).

use super::Task;
use crate::kernels::{
    dot::{Dot, DotKernel},
    gptq::{ROW_STRIP, TileArray},
    isa::reads_past_caches,
    simd::Simd,
};

/// Rows of packed words that the prefetch runs ahead.
const AHEAD: usize = 4;

/// The sums of a strip of outputs stay in the first-level cache while the packed rows stream by.
pub(super) struct Gemv<'a, const BITS: u32, const PER: usize>(pub(super) Task<'a, BITS, PER>);

impl<const BITS: u32, const PER: usize> DotKernel for Gemv<'_, BITS, PER> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd, D: Dot<S>>(self) {
        // SAFETY: the caller's.
        unsafe {
            if reads_past_caches() {
                self.strip::<S, D, true>()
            } else {
                self.strip::<S, D, false>()
            }
        }
    }
}

impl<const BITS: u32, const PER: usize> Gemv<'_, BITS, PER> {
    #[inline(always)]
    unsafe fn strip<S: Simd, D: Dot<S>, const PAST: bool>(self) {
        let Task { x, strip } = self.0;
        let whole = (strip.end - strip.first) / S::LANES * S::LANES;
        let (mut sums, mut y) = (TileArray([0; ROW_STRIP]), TileArray([0.0; ROW_STRIP]));
        let (sums, y) = (&mut sums.0, &mut y.0);
        // SAFETY: vectors lie below `whole`, within the strip and within the weight's outputs.
        unsafe {
            for (index, piece) in x.pieces.iter().enumerate() {
                sums[..whole].fill(0);
                let bytes = x.row(index, 0);
                let mut row = 0;
                // Several packed rows at a time where there are: less traffic of partial sums.
                while row + 4 <= piece.rows {
                    self.rows::<S, D, 4, PAST>(
                        piece.first_row + row,
                        &bytes[row * PER..],
                        whole,
                        sums,
                    );
                    row += 4;
                }
                while row < piece.rows {
                    self.rows::<S, D, 1, PAST>(
                        piece.first_row + row,
                        &bytes[row * PER..],
                        whole,
                        sums,
                    );
                    row += 1;
                }
                let step_and_sum = (x.steps(index, 0)[0], x.sums(index, 0)[0]);
                for at in (0..whole).step_by(S::LANES) {
                    let group = (
                        strip.zeros::<S>(piece.group, strip.first + at),
                        strip.scales::<S>(piece.group, strip.first + at),
                    );
                    let (sums, y) = (
                        S::load_words(sums.as_ptr().add(at).cast()),
                        y.as_mut_ptr().add(at),
                    );
                    S::store(
                        y,
                        Task::<BITS, PER>::close::<S>(S::load(y), sums, group, step_and_sum),
                    );
                }
            }
            for at in (0..whole).step_by(S::LANES) {
                let value = strip.add_bias::<S>(strip.first + at, S::load(y.as_ptr().add(at)));
                S::store(strip.out.at(0, strip.first + at), value);
            }
        }
        self.0.single_outputs(strip.first + whole);
    }

    /// Adds the products of `R` packed rows with the first of `bytes`.
    #[inline(always)]
    unsafe fn rows<S: Simd, D: Dot<S>, const R: usize, const PAST: bool>(
        &self,
        row: usize,
        bytes: &[i8],
        whole: usize,
        sums: &mut [u32; ROW_STRIP],
    ) {
        let Task { strip, .. } = self.0;
        // SAFETY: the caller's; the prefetch may point anywhere.
        unsafe {
            let mut x = [[S::splat_word(0); 2]; R];
            for (x, bytes) in x.iter_mut().zip(bytes.chunks_exact(PER)) {
                for (x, bytes) in x.iter_mut().zip(bytes.chunks_exact(4)) {
                    *x = S::splat_word(u32::from_le_bytes(std::array::from_fn(|at| {
                        bytes[at] as u8
                    })));
                }
            }
            let from = strip.words(row, strip.first);
            let stride = strip.weight.outputs * 4;
            for at in (0..whole).step_by(S::LANES) {
                let to = sums.as_mut_ptr().add(at);
                let mut sum = S::load_words(to.cast());
                for (r, x) in x.iter().enumerate() {
                    let from = from.add(r * stride + at * 4);
                    S::prefetch_once::<PAST>(from.wrapping_add(AHEAD * stride));
                    let words = S::load_words(from);
                    for (part, x) in x.iter().enumerate().take(Task::<BITS, PER>::WORDS) {
                        sum =
                            D::add_dot::<BITS>(sum, Task::<BITS, PER>::bytes::<S>(words, part), *x);
                    }
                }
                S::store_words(to, sum);
            }
        }
    }
}
