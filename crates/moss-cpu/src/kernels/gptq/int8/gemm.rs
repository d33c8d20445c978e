//! Many rows: a piece of the strip is unpacked once, then multiplied tile by tile (bound by
//! arithmetic).

use std::ops::Range;

use super::{Int8Activations, Task, activations};
use crate::kernels::{
    Aligned,
    dot::{Dot, DotKernel},
    gptq::Segment,
    simd::Simd,
};

/// Outputs of one task, at most: packed rows lie pages apart, and a page is looked up once for all
/// outputs of a task.
const STRIP: usize = 256;
/// And at least.
const SHORTEST_STRIP: usize = 64;
/// Inputs whose weights are unpacked at a time, which is the longest piece: two such panels and the
/// results of hundreds of rows stay in the second-level cache.
const PANEL_INPUTS: usize = activations::LONGEST;

/// Outputs of one task, so that every thread gets several: where they are cut changes no sum.
pub(super) fn strip(outputs: usize) -> usize {
    let share = outputs.div_ceil(4 * rayon::current_num_threads());
    share.next_multiple_of(SHORTEST_STRIP).min(STRIP)
}

pub(super) struct Gemm<'a, const BITS: u32, const PER: usize> {
    pub(super) task: Task<'a, BITS, PER>,
    pub(super) room: &'a mut Room,
}

/// What a thread works in, task after task.
pub(super) struct Room {
    /// What is multiplied, and what is unpacked meanwhile.
    panels: [Panel; 2],
    /// Results, `[rows, STRIP]`: in the matrix, rows lie far apart, in the same few sets of the
    /// caches.
    y: Aligned<f32>,
}

/// Consecutive pieces of the weight, unpacked.
struct Panel {
    /// Bytes of four inputs a word, `[PANEL_INPUTS / 4, STRIP]`.
    words: Aligned<u32>,
    /// Zero points and scales, `[pieces, 2, STRIP]`.
    groups: Aligned<f32>,
}

impl Room {
    pub(super) fn new(x: &Int8Activations) -> Self {
        let panel = || Panel {
            words: Aligned::zeros(PANEL_INPUTS / 4 * STRIP),
            groups: Aligned::zeros(x.pieces.len().min(PANEL_INPUTS / 4) * 2 * STRIP),
        };
        Self {
            panels: [panel(), panel()],
            y: Aligned::zeros(x.rows * STRIP),
        }
    }
}

impl<const BITS: u32, const PER: usize> DotKernel for Gemm<'_, BITS, PER> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd, D: Dot<S>>(self) {
        let Self {
            task,
            room: Room {
                panels: [now, next],
                y,
            },
        } = self;
        let Task { x, strip } = task;
        let whole = (strip.end - strip.first) / S::LANES * S::LANES;
        y.fill(0.0);
        let mut pieces = task.pieces_from(0);
        // SAFETY: vectors lie below `whole`, within the strip and within the weight's outputs.
        unsafe {
            task.unpack::<S>(&pieces, (0, 1), whole, now);
            while !pieces.is_empty() {
                let ahead = task.pieces_from(pieces.end);
                let parts = pieces.len() * x.rows.div_ceil(activations::ROW_BLOCK);
                let mut part = 0;
                for first in (0..x.rows).step_by(activations::ROW_BLOCK) {
                    let rows = first..x.rows.min(first + activations::ROW_BLOCK);
                    for index in pieces.clone() {
                        task.unpack::<S>(&ahead, (part, parts), whole, next);
                        part += 1;
                        task.piece::<S, D>(index, pieces.start, rows.clone(), whole, now, y);
                    }
                }
                std::mem::swap(now, next);
                pieces = ahead;
            }
            for (row, y) in y.chunks_exact(STRIP).enumerate() {
                for at in (0..whole).step_by(S::LANES) {
                    let value = strip.add_bias::<S>(strip.first + at, S::load(y.as_ptr().add(at)));
                    S::store(strip.out.at(row, strip.first + at), value);
                }
            }
        }
        task.single_outputs(strip.first + whole);
    }
}

impl<const BITS: u32, const PER: usize> Task<'_, BITS, PER> {
    /// As many pieces as a panel has room for.
    fn pieces_from(&self, first: usize) -> Range<usize> {
        let pieces = &self.x.pieces[first..];
        let fits = |piece: &&Segment| {
            (piece.first_row + piece.rows - pieces[0].first_row) * PER <= PANEL_INPUTS
        };
        first..first + pieces.iter().take_while(fits).count()
    }

    /// Unpacks a part of some pieces, `part` of so many, and asks for the next: packed rows lie far
    /// apart, where no prefetcher follows.
    #[inline(always)]
    unsafe fn unpack<S: Simd>(
        &self,
        pieces: &Range<usize>,
        (part, parts): (usize, usize),
        whole: usize,
        panel: &mut Panel,
    ) {
        let Self { x, strip } = *self;
        let Some(last) = x.pieces[pieces.clone()].last() else {
            return;
        };
        let first_row = x.pieces[pieces.start].first_row;
        let rows = last.first_row + last.rows - first_row;
        // SAFETY: the caller's; there is room for PANEL_INPUTS, in pieces of a word at least.
        unsafe {
            if part == 0 {
                for (piece, groups) in x.pieces[pieces.clone()]
                    .iter()
                    .zip(panel.groups.chunks_exact_mut(2 * STRIP))
                {
                    for at in (0..whole).step_by(S::LANES) {
                        let to = groups.as_mut_ptr().add(at);
                        S::store(to, strip.zeros::<S>(piece.group, strip.first + at));
                        S::store(
                            to.add(STRIP),
                            strip.scales::<S>(piece.group, strip.first + at),
                        );
                    }
                }
            }
            for row in rows * part / parts..rows * (part + 1) / parts {
                let to = panel.words.as_mut_ptr().add(row * Self::WORDS * STRIP);
                for at in (0..whole).step_by(S::LANES) {
                    let words = S::load_words(strip.words(first_row + row, strip.first + at));
                    for part in 0..Self::WORDS {
                        S::store_words(to.add(part * STRIP + at), Self::bytes::<S>(words, part));
                    }
                }
            }
            for row in rows * (part + 1) / parts..rows * (part + 2) / parts {
                let words = strip
                    .words(first_row, strip.first)
                    .wrapping_add(row * strip.weight.outputs * 4);
                // The last byte too: rows need not begin on a line.
                for at in (0..STRIP * 4).step_by(64).chain([STRIP * 4 - 1]) {
                    S::prefetch(words.wrapping_add(at));
                }
            }
        }
    }

    /// An unpacked piece by a block of rows. `first` is the panel's first piece.
    #[inline(always)]
    unsafe fn piece<S: Simd, D: Dot<S>>(
        &self,
        index: usize,
        first: usize,
        rows: Range<usize>,
        whole: usize,
        panel: &Panel,
        y: &mut [f32],
    ) {
        let pieces = &self.x.pieces;
        let words = (pieces[index].first_row - pieces[first].first_row) * Self::WORDS * STRIP;
        let panel = (
            &panel.words[words..],
            &panel.groups[(index - first) * 2 * STRIP..],
        );
        let mut row = rows.start;
        // SAFETY: the caller's.
        unsafe {
            while row + D::TILE_ROWS <= rows.end {
                match D::TILE_ROWS {
                    6 => self.tiles::<S, D, 6>(index, row, whole, panel, y),
                    3 => self.tiles::<S, D, 3>(index, row, whole, panel, y),
                    _ => self.tiles::<S, D, 2>(index, row, whole, panel, y),
                }
                row += D::TILE_ROWS;
            }
            while row < rows.end {
                self.tiles::<S, D, 1>(index, row, whole, panel, y);
                row += 1;
            }
        }
    }

    #[inline(always)]
    unsafe fn tiles<S: Simd, D: Dot<S>, const M: usize>(
        &self,
        index: usize,
        row: usize,
        whole: usize,
        panel: (&[u32], &[f32]),
        y: &mut [f32],
    ) {
        let mut at = 0;
        // SAFETY: the caller's.
        unsafe {
            while at + 4 * S::LANES <= whole {
                self.tile::<S, D, M, 4>(index, row, at, panel, y);
                at += 4 * S::LANES;
            }
            while at < whole {
                self.tile::<S, D, M, 1>(index, row, at, panel, y);
                at += S::LANES;
            }
        }
    }

    /// One piece's share of `M` rows by `N` vectors of outputs.
    #[inline(always)]
    unsafe fn tile<S: Simd, D: Dot<S>, const M: usize, const N: usize>(
        &self,
        index: usize,
        row: usize,
        at: usize,
        (words, groups): (&[u32], &[f32]),
        y: &mut [f32],
    ) {
        let x = self.x;
        let words_a_row = x.pieces[index].rows * Self::WORDS;
        // SAFETY: the caller's; rows of a piece follow each other.
        unsafe {
            let from = x.rows_from(index, row).as_ptr().cast::<u32>();
            let words = words.as_ptr().add(at);
            let mut sums = [[S::splat_word(0); M]; N];
            let mut k = 0;
            // Four at a time, so that the loop's end is foreseen.
            while k + 4 <= words_a_row {
                for k in k..k + 4 {
                    Self::products::<S, D, M, N>(
                        &mut sums,
                        from.add(k),
                        words_a_row,
                        words.add(k * STRIP),
                    );
                }
                k += 4;
            }
            for k in k..words_a_row {
                Self::products::<S, D, M, N>(
                    &mut sums,
                    from.add(k),
                    words_a_row,
                    words.add(k * STRIP),
                );
            }
            let steps = (x.steps(index, row).as_ptr(), x.sums(index, row).as_ptr());
            let (groups, y) = (
                groups.as_ptr().add(at),
                y.as_mut_ptr().add(row * STRIP + at),
            );
            // Written out: from a loop the compiler would index the sums, which takes them out of
            // their registers.
            Self::close_rows::<S, M>(&sums[0], groups, steps, y);
            if N == 4 {
                Self::close_rows::<S, M>(&sums[1], groups.add(S::LANES), steps, y.add(S::LANES));
                Self::close_rows::<S, M>(
                    &sums[2],
                    groups.add(2 * S::LANES),
                    steps,
                    y.add(2 * S::LANES),
                );
                Self::close_rows::<S, M>(
                    &sums[3],
                    groups.add(3 * S::LANES),
                    steps,
                    y.add(3 * S::LANES),
                );
            }
        }
    }

    /// Adds the products of four inputs of `M` rows, `stride` words apart.
    #[inline(always)]
    unsafe fn products<S: Simd, D: Dot<S>, const M: usize, const N: usize>(
        sums: &mut [[S::I; M]; N],
        x: *const u32,
        stride: usize,
        words: *const u32,
    ) {
        // SAFETY: the caller's.
        unsafe {
            // No closures here: they would not take on the instruction set of the function around
            // them.
            let mut rows = [S::splat_word(0); M];
            for (m, row) in rows.iter_mut().enumerate() {
                *row = S::splat_word(u32::from_le(x.add(m * stride).read_unaligned()));
            }
            for (n, sums) in sums.iter_mut().enumerate() {
                let q = S::load_words(words.add(n * S::LANES).cast());
                for (sum, row) in sums.iter_mut().zip(rows) {
                    *sum = D::add_dot::<BITS>(*sum, q, row);
                }
            }
        }
    }

    /// Adds a piece of `M` rows to a vector of the results of each.
    #[inline(always)]
    unsafe fn close_rows<S: Simd, const M: usize>(
        sums: &[S::I; M],
        groups: *const f32,
        (steps, sums_of_x): (*const f32, *const f32),
        y: *mut f32,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let group = (S::load(groups), S::load(groups.add(STRIP)));
            for (m, sums) in sums.iter().enumerate() {
                let y = y.add(m * STRIP);
                let of_x = (*steps.add(m), *sums_of_x.add(m));
                S::store(y, Self::close::<S>(S::load(y), *sums, group, of_x));
            }
        }
    }
}
