//! Many rows: a piece of the strip is unpacked once, then multiplied tile by tile (bound by arithmetic).

use std::ops::Range;

use super::{Rounded, Task, inputs};
use crate::cpu::{
    Aligned,
    dot::{Dot, DotKernel},
    gptq::PANEL_STRIP,
    simd::Simd,
};

/// Inputs whose weights are unpacked at a time: they stay in the second-level cache.
const PANEL_INPUTS: usize = 2048;

pub(super) struct ManyRows<'a, const BITS: u32, const PER: usize> {
    pub(super) task: Task<'a, BITS, PER>,
    pub(super) room: &'a mut Room,
}

/// What a thread works in, task after task.
pub(super) struct Room {
    /// Unpacked pieces of the weight: bytes of four inputs a word, `[PANEL_INPUTS / 4, PANEL_STRIP]`.
    words: Aligned<u32>,
    /// Their zero points and scales, `[pieces, 2, PANEL_STRIP]`.
    groups: Aligned<f32>,
    /// Results, `[rows, PANEL_STRIP]`: in the matrix, rows lie far apart, in the same few sets of the caches.
    y: Aligned<f32>,
}

impl Room {
    pub(super) fn new(x: &Rounded) -> Self {
        Self {
            words: Aligned::zeros(PANEL_INPUTS / 4 * PANEL_STRIP),
            groups: Aligned::zeros(x.pieces.len() * 2 * PANEL_STRIP),
            y: Aligned::zeros(x.rows * PANEL_STRIP),
        }
    }
}

impl<const BITS: u32, const PER: usize> DotKernel for ManyRows<'_, BITS, PER> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd, D: Dot<S>>(self) {
        let Self { task, room } = self;
        let Task { x, strip } = task;
        let whole = (strip.end - strip.first) / S::LANES * S::LANES;
        room.y.fill(0.0);
        let mut first = 0;
        // SAFETY: vectors lie below `whole`, within the strip and within the weight's outputs.
        unsafe {
            while first < x.pieces.len() {
                let end = task.unpack::<S>(first, whole, room);
                let mut row = 0;
                while row < x.rows {
                    let rows = inputs::ROW_BLOCK.min(x.rows - row);
                    task.block::<S, D>(first..end, row..row + rows, whole, room);
                    row += rows;
                }
                first = end;
            }
            for (row, y) in room.y.chunks_exact(PANEL_STRIP).enumerate() {
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
    /// Unpacks as many pieces from `first` on as there is room for, and says where they end.
    #[inline(always)]
    unsafe fn unpack<S: Simd>(&self, first: usize, whole: usize, room: &mut Room) -> usize {
        let Self { x, strip } = *self;
        let first_row = x.pieces[first].first_row;
        let mut end = first;
        // SAFETY: the caller's; there is room for PANEL_INPUTS, and for every piece's group.
        unsafe {
            while let Some(piece) = x.pieces.get(end)
                && (piece.first_row + piece.rows - first_row) * PER <= PANEL_INPUTS
            {
                for at in (0..whole).step_by(S::LANES) {
                    let group = room.groups.as_mut_ptr().add((end - first) * 2 * PANEL_STRIP + at);
                    S::store(group, strip.zeros::<S>(piece.group, strip.first + at));
                    S::store(group.add(PANEL_STRIP), strip.scales::<S>(piece.group, strip.first + at));
                }
                for row in piece.first_row..piece.first_row + piece.rows {
                    let to = room.words.as_mut_ptr().add((row - first_row) * Self::WORDS * PANEL_STRIP);
                    for at in (0..whole).step_by(S::LANES) {
                        let words = S::load_words(strip.words(row, strip.first + at));
                        for part in 0..Self::WORDS {
                            let bytes = Self::bytes::<S>(words, part);
                            S::store_words(to.add(part * PANEL_STRIP + at), bytes);
                        }
                    }
                }
                end += 1;
            }
        }
        end
    }

    /// The unpacked `pieces` by a block of rows.
    #[inline(always)]
    unsafe fn block<S: Simd, D: Dot<S>>(
        &self,
        pieces: Range<usize>,
        rows: Range<usize>,
        whole: usize,
        room: &mut Room,
    ) {
        let x = self.x;
        let first_row = x.pieces[pieces.start].first_row;
        for index in pieces.clone() {
            let words = (x.pieces[index].first_row - first_row) * Self::WORDS * PANEL_STRIP;
            let group = (index - pieces.start) * 2 * PANEL_STRIP;
            let (panel, y) = ((&room.words[words..], &room.groups[group..]), &mut *room.y);
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
            let from = x.row(index, row).as_ptr().cast::<u32>();
            let words = words.as_ptr().add(at);
            let mut sums = [[S::splat_word(0); N]; M];
            for k in 0..words_a_row {
                // No closures here: they would not take on the instruction set of the function around them.
                let mut rows = [S::splat_word(0); M];
                for (m, row) in rows.iter_mut().enumerate() {
                    *row = S::splat_word(u32::from_le(from.add(m * words_a_row + k).read_unaligned()));
                }
                for n in 0..N {
                    let q = S::load_words(words.add(k * PANEL_STRIP + n * S::LANES).cast());
                    for (sums, row) in sums.iter_mut().zip(rows) {
                        sums[n] = D::add_dot::<BITS>(sums[n], q, row);
                    }
                }
            }
            let (steps, sums_of_x) = (x.steps(index, row).as_ptr(), x.sums(index, row).as_ptr());
            for n in 0..N {
                let group = groups.as_ptr().add(at + n * S::LANES);
                let group = (S::load(group), S::load(group.add(PANEL_STRIP)));
                for (m, sums) in sums.iter().enumerate() {
                    let y = y.as_mut_ptr().add((row + m) * PANEL_STRIP + at + n * S::LANES);
                    let value =
                        Self::close::<S>(S::load(y), sums[n], group, (*steps.add(m), *sums_of_x.add(m)));
                    S::store(y, value);
                }
            }
        }
    }
}
