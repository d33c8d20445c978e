//! GEMM for prefill: a piece of the tile is unpacked once, and multiplied by tiles of rows and
//! vectors. Arithmetic is the limit.

use std::ops::Range;

use super::{
    activations::ROW_BLOCK,
    task::{Task, add_piece, bytes},
    workspace::{OUTPUTS, PANEL_INPUTS, Panel, Row, Workspace},
};
use crate::kernels::{
    dot::{Dot, DotKernel},
    gptq::packed::Segment,
    prefetch::prefetch,
    simd::{Chunk, Simd},
};

pub(super) struct Gemm<'a, const BITS: u32, const PER: usize> {
    pub(super) task: Task<'a, BITS, PER>,
    pub(super) workspace: &'a mut Workspace,
}

impl<const BITS: u32, const PER: usize> DotKernel for Gemm<'_, BITS, PER> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, D: Dot<S>>(self, simd: S, dot: D) {
        let Self {
            mut task,
            workspace: Workspace { panels, y },
        } = self;
        let [current, next] = panels;
        let rows = task.x.rows;
        y.fill(0.0);
        let y = Row::split_mut(y);
        let mut pieces = task.pieces_from(0);
        task.unpack(simd, &pieces, (0, 1), current);
        while !pieces.is_empty() {
            let ahead = task.pieces_from(pieces.end);
            let parts = pieces.len() * rows.div_ceil(ROW_BLOCK);
            let mut part = 0;
            for first in (0..rows).step_by(ROW_BLOCK) {
                let rows = first..rows.min(first + ROW_BLOCK);
                for index in pieces.clone() {
                    task.unpack(simd, &ahead, (part, parts), next);
                    part += 1;
                    let piece = task.piece(index, pieces.start, current);
                    piece.multiply(simd, dot, rows.clone(), y);
                }
            }
            std::mem::swap(current, next);
            pieces = ahead;
        }
        for (row, y) in y.iter().enumerate() {
            task.tile.write(simd, row, S::Floats::split(y));
        }
        task.single_outputs(task.tile.vectors::<S>() * S::LANES);
    }
}

impl<const BITS: u32, const PER: usize> Task<'_, BITS, PER> {
    /// Returns as many pieces as fit in a panel.
    fn pieces_from(&self, first: usize) -> Range<usize> {
        let pieces = &self.x.pieces[first..];
        let fits = |piece: &&Segment| {
            (piece.first_row + piece.rows - pieces[0].first_row) * PER <= PANEL_INPUTS
        };
        first..first + pieces.iter().take_while(fits).count()
    }

    /// Unpacks part `part` of `parts` of some pieces, and prefetches the next part: packed rows are
    /// too far apart for hardware prefetchers.
    #[inline(always)]
    fn unpack<S: Simd>(
        &self,
        simd: S,
        pieces: &Range<usize>,
        (part, parts): (usize, usize),
        panel: &mut Panel,
    ) {
        let (pieces, tile) = (&self.x.pieces[pieces.clone()], &self.tile);
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
            return;
        };
        let first_row = first.first_row;
        let rows = last.first_row + last.rows - first_row;
        if part == 0 {
            for (piece, [zeros, scales]) in pieces.iter().zip(panel.groups_mut()) {
                let stored = tile.zeros(piece.group);
                let zeros = S::Floats::split_mut(zeros).iter_mut().enumerate();
                for (at, to) in zeros.take(tile.vectors::<S>()) {
                    simd.store(to, stored.load(simd, at));
                }
                let scales = S::Floats::split_mut(scales).iter_mut();
                for (to, from) in scales.zip(tile.scales::<S>(piece.group)) {
                    simd.store(to, simd.load_f16(from));
                }
            }
        }
        let words = panel.words_mut().chunks_exact_mut(Self::WORDS).enumerate();
        let now = rows * part / parts..rows * (part + 1) / parts;
        for (row, to) in words.take(now.end).skip(now.start) {
            let from = tile.words::<S>(first_row + row).iter();
            for (at, from) in from.take(OUTPUTS / S::LANES).enumerate() {
                let words = simd.load_packed(from);
                for (part, to) in to.iter_mut().enumerate() {
                    let to = &mut S::Words::split_mut(to)[at];
                    simd.store_words(to, bytes::<S, BITS>(simd, words, part));
                }
            }
        }
        for row in now.end..rows * (part + 2) / parts {
            let words = tile.address(first_row + row);
            // The last byte too, because rows do not start on a cache line.
            for at in (0..OUTPUTS * 4).step_by(64).chain([OUTPUTS * 4 - 1]) {
                prefetch(words.wrapping_add(at));
            }
        }
    }

    /// Returns an unpacked piece. `first` is the first piece of the panel.
    #[inline(always)]
    fn piece<'p>(&'p self, index: usize, first: usize, panel: &'p Panel) -> Piece<'p, BITS, PER> {
        let pieces = &self.x.pieces;
        let first_word = (pieces[index].first_row - pieces[first].first_row) * Self::WORDS;
        let words = pieces[index].rows * Self::WORDS;
        Piece {
            task: self,
            index,
            words: &panel.words()[first_word..][..words],
            group: &panel.groups()[index - first],
        }
    }
}

/// An unpacked piece of a tile.
struct Piece<'a, const BITS: u32, const PER: usize> {
    task: &'a Task<'a, BITS, PER>,
    index: usize,
    /// The bytes of four inputs per word, for each output.
    words: &'a [Row<u32>],
    /// Zero points and scales.
    group: &'a [Row; 2],
}

impl<const BITS: u32, const PER: usize> Piece<'_, BITS, PER> {
    /// Adds the products with a block of rows to `y`.
    #[inline(always)]
    fn multiply<S: Simd, D: Dot<S>>(&self, simd: S, dot: D, rows: Range<usize>, y: &mut [Row]) {
        let mut row = rows.start;
        while row + D::TILE_ROWS <= rows.end {
            match D::TILE_ROWS {
                6 => self.tiles::<S, D, 6>(simd, dot, row, y),
                3 => self.tiles::<S, D, 3>(simd, dot, row, y),
                _ => self.tiles::<S, D, 2>(simd, dot, row, y),
            }
            row += D::TILE_ROWS;
        }
        while row < rows.end {
            self.tiles::<S, D, 1>(simd, dot, row, y);
            row += 1;
        }
    }

    #[inline(always)]
    fn tiles<S: Simd, D: Dot<S>, const M: usize>(
        &self,
        simd: S,
        dot: D,
        row: usize,
        y: &mut [Row],
    ) {
        let (mut at, vectors) = (0, self.task.tile.vectors::<S>());
        let x = self.task.x.rows_from(self.index, row);
        let mut rows = [&[][..]; M];
        for (x, row) in x.chunks_exact(self.words.len()).zip(&mut rows) {
            *row = x;
        }
        let y = &mut y[row..][..M];
        while at + 4 <= vectors {
            self.tile::<S, D, M, 4>(simd, dot, row, at, rows, y);
            at += 4;
        }
        while at < vectors {
            self.tile::<S, D, M, 1>(simd, dot, row, at, rows, y);
            at += 1;
        }
    }

    /// Adds the piece's part of `M` rows by `N` vectors of outputs, from vector `at` on.
    #[inline(always)]
    fn tile<S: Simd, D: Dot<S>, const M: usize, const N: usize>(
        &self,
        simd: S,
        dot: D,
        row: usize,
        at: usize,
        x: [&[[u8; 4]]; M],
        y: &mut [Row],
    ) {
        assert!(at + N <= OUTPUTS / S::LANES);
        let mut sums = [[simd.splat_word(0); M]; N];
        // Four words at a time: the short inner loop is unrolled.
        let (fours, rest) = self.words.as_chunks::<4>();
        let mut x_fours = [&[][..]; M];
        for (fours_of_x, x) in x_fours.iter_mut().zip(x) {
            *fours_of_x = &x.as_chunks::<4>().0[..fours.len()];
        }
        for i in 0..fours.len() {
            for (k, words) in fours[i].iter().enumerate() {
                let mut bytes = [[0; 4]; M];
                for (bytes, x) in bytes.iter_mut().zip(x_fours) {
                    *bytes = x[i][k];
                }
                add_products::<S, D, BITS, M, N>(simd, dot, &mut sums, bytes, words, at);
            }
        }
        for (k, words) in rest.iter().enumerate() {
            let mut bytes = [[0; 4]; M];
            for (bytes, x) in bytes.iter_mut().zip(x) {
                *bytes = x[4 * fours.len() + k];
            }
            add_products::<S, D, BITS, M, N>(simd, dot, &mut sums, bytes, words, at);
        }
        let of_x = (
            self.task.x.steps(self.index, row),
            self.task.x.sums(self.index, row),
        );
        // Not a loop: the compiler would index `sums` in memory instead of keeping it in registers.
        add_rows(simd, &sums[0], self.group, of_x, y, at);
        if N == 4 {
            add_rows(simd, &sums[1], self.group, of_x, y, at + 1);
            add_rows(simd, &sums[2], self.group, of_x, y, at + 2);
            add_rows(simd, &sums[3], self.group, of_x, y, at + 3);
        }
    }
}

/// Adds the products of a word, four inputs, of `M` rows.
#[inline(always)]
fn add_products<S: Simd, D: Dot<S>, const BITS: u32, const M: usize, const N: usize>(
    simd: S,
    dot: D,
    sums: &mut [[S::I; M]; N],
    x: [[u8; 4]; M],
    words: &Row<u32>,
    at: usize,
) {
    // No closures here: they would not be compiled with the features of the function around them.
    let mut rows = [simd.splat_word(0); M];
    for (row, x) in rows.iter_mut().zip(x) {
        *row = simd.splat_word(u32::from_le_bytes(x));
    }
    let words = S::Words::split(words);
    for (n, sums) in sums.iter_mut().enumerate() {
        let q = simd.load_words(&words[at + n]);
        for (sum, row) in sums.iter_mut().zip(rows) {
            *sum = dot.add_dot::<BITS>(*sum, q, row);
        }
    }
}

/// Adds the sums of a piece to vector `at` of `M` rows of the results.
#[inline(always)]
fn add_rows<S: Simd, const M: usize>(
    simd: S,
    sums: &[S::I; M],
    [zeros, scales]: &[Row; 2],
    (steps, sums_of_x): (&[f32], &[f32]),
    y: &mut [Row],
    at: usize,
) {
    let zeros = simd.load(&S::Floats::split(zeros)[at]);
    let scales = simd.load(&S::Floats::split(scales)[at]);
    for (m, (sums, y)) in sums.iter().zip(y).enumerate() {
        let of_x = (steps[m], sums_of_x[m]);
        let y = &mut S::Floats::split_mut(y)[at];
        let sum = add_piece(simd, simd.load(y), *sums, (zeros, scales), of_x);
        simd.store(y, sum);
    }
}
