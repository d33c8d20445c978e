//! GEMV for decode, one row: the packed weight is read once, with one to three instructions per
//! vector of words. Memory bandwidth is the limit.

use super::task::{Task, add_piece, bytes};
use crate::kernels::{
    dot::{Dot, DotKernel},
    gptq::tile::{GEMV_OUTPUTS, TileArray},
    prefetch::{prefetch_once, reads_past_caches},
    simd::{Chunk, Simd},
};

/// Rows of packed words between a load and the prefetch that is issued with it.
const AHEAD: usize = 4;

/// The sums of a tile stay in the first-level cache while the packed rows stream through it.
pub(super) struct Gemv<'a, const BITS: u32, const PER: usize>(pub(super) Task<'a, BITS, PER>);

impl<const BITS: u32, const PER: usize> DotKernel for Gemv<'_, BITS, PER> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, simd: S, dot: D) {
        if reads_past_caches() {
            self.outputs::<S, D, true>(simd, dot);
        } else {
            self.outputs::<S, D, false>(simd, dot);
        }
    }
}

impl<const BITS: u32, const PER: usize> Gemv<'_, BITS, PER> {
    #[inline(always)]
    fn outputs<S: Simd, D: Dot<S>, const PAST: bool>(self, simd: S, dot: D) {
        let mut task = self.0;
        let (x, vectors) = (task.x, task.tile.vectors::<S>());
        let mut sums = TileArray([0; GEMV_OUTPUTS]);
        let mut y = TileArray([0.0; GEMV_OUTPUTS]);
        let sums = &mut S::Words::split_mut(&mut sums.0)[..vectors];
        let y = &mut S::Floats::split_mut(&mut y.0)[..vectors];
        for (index, piece) in x.pieces.iter().enumerate() {
            for sums in sums.iter_mut() {
                simd.store_words(sums, simd.splat_word(0));
            }
            let inputs = x.row(index, 0);
            let mut row = 0;
            // Several packed rows at a time, so that partial sums are loaded and stored less often.
            while row + 4 <= piece.rows {
                let inputs = &inputs[row * Task::<BITS, PER>::WORDS..];
                rows::<S, D, BITS, PER, 4, PAST>(
                    simd,
                    dot,
                    &task,
                    piece.first_row + row,
                    inputs,
                    sums,
                );
                row += 4;
            }
            while row < piece.rows {
                let inputs = &inputs[row * Task::<BITS, PER>::WORDS..];
                rows::<S, D, BITS, PER, 1, PAST>(
                    simd,
                    dot,
                    &task,
                    piece.first_row + row,
                    inputs,
                    sums,
                );
                row += 1;
            }
            let step_and_sum = (x.steps(index, 0)[0], x.sums(index, 0)[0]);
            let zeros = task.tile.zeros(piece.group);
            let scales = task.tile.scales::<S>(piece.group);
            for (at, ((y, sums), scales)) in y.iter_mut().zip(&*sums).zip(scales).enumerate() {
                let group = (zeros.load(simd, at), simd.load_f16(scales));
                let sums = simd.load_words(sums);
                let sum = add_piece(simd, simd.load(y), sums, group, step_and_sum);
                simd.store(y, sum);
            }
        }
        task.tile.write(simd, 0, y);
        task.single_outputs(vectors * S::LANES);
    }
}

/// Adds the products of `R` packed rows with the first of `inputs`.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // one bounds check for all slices
fn rows<S: Simd, D: Dot<S>, const BITS: u32, const PER: usize, const R: usize, const PAST: bool>(
    simd: S,
    dot: D,
    task: &Task<'_, BITS, PER>,
    row: usize,
    inputs: &[[u8; 4]],
    sums: &mut [S::Words],
) {
    let vectors = sums.len();
    let words_per_packed = Task::<BITS, PER>::WORDS;
    let mut x = [[simd.splat_word(0); 2]; R];
    for (x, inputs) in x.iter_mut().zip(inputs.chunks_exact(words_per_packed)) {
        for (x, inputs) in x.iter_mut().zip(inputs) {
            *x = simd.splat_word(u32::from_le_bytes(*inputs));
        }
    }
    let words = task.tile.rows::<S, R>(row, vectors);
    let next = AHEAD * task.tile.weight.outputs * 4;
    for at in 0..vectors {
        let mut sum = simd.load_words(&sums[at]);
        for (r, x) in x.iter().enumerate() {
            let words = words.get(r, at);
            let address = std::ptr::from_ref(words).cast::<u8>();
            prefetch_once::<PAST, _>(address.wrapping_add(next));
            let words = simd.load_packed(words);
            for (part, x) in x.iter().enumerate().take(words_per_packed) {
                sum = dot.add_dot::<BITS>(sum, bytes::<S, BITS>(simd, words, part), *x);
            }
        }
        simd.store_words(&mut sums[at], sum);
    }
}
