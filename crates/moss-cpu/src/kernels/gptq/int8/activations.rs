//! Inputs as bytes, each piece of a row with a step of its own.

use rayon::prelude::*;

use crate::{
    kernels::{
        Isa,
        gptq::Segment,
        simd::{Kernel, Simd},
    },
    ops::Floats,
};

/// Inputs of a piece, at most: sums of their products with 8-bit weights stay below 2^24.
pub(super) const LONGEST: usize = 512;
/// The largest byte in use; its negative is the smallest.
const TOP: f32 = 127.0;
/// Rows that are multiplied with a piece of the weight one after the other: their bytes and results
/// stay in the first-level cache. A whole number of tiles.
pub(super) const ROW_BLOCK: usize = 48;

/// Inputs as they come.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// `[rows, inputs]`
    pub(crate) x: Floats<'a>,
    pub(crate) rows: usize,
    /// Input of each column of the weight, where they are not in order; what is no input counts as
    /// 0.
    pub(crate) order: Option<&'a [u32]>,
}

/// Inputs as bytes, in the order in which kernels read them: by blocks of [`ROW_BLOCK`] rows, in
/// these by pieces, then by rows.
pub(crate) struct Int8Activations {
    pub(super) rows: usize,
    pub(super) pieces: Vec<Segment>,
    per_word: usize,
    /// Bytes of a row.
    columns: usize,
    bytes: Vec<i8>,
    /// What a byte of 1 stands for, a piece of a row each.
    steps: Vec<f32>,
    /// Sums of bytes, likewise.
    sums: Vec<f32>,
}

impl Int8Activations {
    pub(crate) fn new<const PER: usize>(isa: Isa, x: Inputs<'_>, segments: &[Segment]) -> Self {
        let rows = x.rows;
        let pieces: Vec<Segment> = segments
            .iter()
            .flat_map(|segment| pieces_of(*segment, LONGEST / PER))
            .collect();
        let columns = pieces
            .last()
            .map_or(0, |last| (last.first_row + last.rows) * PER);
        let mut bytes = vec![0i8; rows * columns];
        let (mut steps, mut sums) = (
            vec![0.0; rows * pieces.len()],
            vec![0.0; rows * pieces.len()],
        );
        let blocks = bytes.par_chunks_mut(ROW_BLOCK * columns).zip(
            steps
                .par_chunks_mut(ROW_BLOCK * pieces.len())
                .zip(sums.par_chunks_mut(ROW_BLOCK * pieces.len())),
        );
        blocks
            .enumerate()
            .for_each(|(block, (bytes, (steps, sums)))| {
                isa.run(Block::<PER> {
                    x,
                    first_row: block * ROW_BLOCK,
                    pieces: &pieces,
                    bytes,
                    steps,
                    sums,
                });
            });
        Self {
            rows,
            pieces,
            per_word: PER,
            columns,
            bytes,
            steps,
            sums,
        }
    }

    /// Where a row of a piece begins among the bytes, and where it stands among steps and sums. The
    /// next rows of the block follow.
    fn place(&self, piece: usize, row: usize) -> (usize, usize) {
        let (first, row) = (row / ROW_BLOCK * ROW_BLOCK, row % ROW_BLOCK);
        let rows = ROW_BLOCK.min(self.rows - first);
        let Segment {
            first_row,
            rows: words,
            ..
        } = self.pieces[piece];
        let byte = first * self.columns + (first_row * rows + words * row) * self.per_word;
        (byte, first * self.pieces.len() + piece * rows + row)
    }

    /// The bytes of a row of a piece.
    pub(super) fn row(&self, piece: usize, row: usize) -> &[i8] {
        &self.rows_from(piece, row)[..self.pieces[piece].rows * self.per_word]
    }

    /// The same, and behind them those of the next rows of the block.
    pub(super) fn rows_from(&self, piece: usize, row: usize) -> &[i8] {
        &self.bytes[self.place(piece, row).0..]
    }

    /// What a byte of 1 stands for in a row of a piece, and in the next ones of the block.
    pub(super) fn steps(&self, piece: usize, row: usize) -> &[f32] {
        &self.steps[self.place(piece, row).1..]
    }

    /// The sums of bytes, likewise.
    pub(super) fn sums(&self, piece: usize, row: usize) -> &[f32] {
        &self.sums[self.place(piece, row).1..]
    }
}

fn pieces_of(segment: Segment, most: usize) -> impl Iterator<Item = Segment> {
    let piece = move |at: usize| Segment {
        first_row: segment.first_row + at,
        rows: most.min(segment.rows - at),
        group: segment.group,
    };
    (0..segment.rows).step_by(most).map(piece)
}

/// Where the input `at` of a packed word stands among its bytes: a mask takes every other field of
/// 4 bits at a time.
#[inline(always)]
pub(super) const fn place<const PER: usize>(at: usize) -> usize {
    if PER == 8 { at / 2 + at % 2 * 4 } else { at }
}

/// Rounds a block of rows.
struct Block<'a, const PER: usize> {
    x: Inputs<'a>,
    first_row: usize,
    pieces: &'a [Segment],
    bytes: &'a mut [i8],
    steps: &'a mut [f32],
    sums: &'a mut [f32],
}

impl<const PER: usize> Kernel for Block<'_, PER> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Inputs { x, rows, order } = self.x;
        let inputs = x.len() / rows;
        let rows = self.steps.len() / self.pieces.len();
        let mut values = [0.0f32; LONGEST];
        for row in 0..rows {
            let start = (self.first_row + row) * inputs;
            for (index, piece) in self.pieces.iter().enumerate() {
                let (first, columns) = (piece.first_row * PER, piece.rows * PER);
                let values = &mut values[..columns];
                match order {
                    None => x.widen(start + first, values),
                    Some(order) => {
                        for (value, input) in values.iter_mut().zip(&order[first..]) {
                            let input = *input as usize;
                            *value = if input < inputs {
                                x.get(start + input)
                            } else {
                                0.0
                            };
                        }
                    }
                }
                let bytes = &mut self.bytes[first * rows + columns * row..][..columns];
                let at = index * rows + row;
                (self.steps[at], self.sums[at]) = round::<PER>(values, bytes);
            }
        }
    }
}

/// The nearest multiples of a step that fits the largest value; the step, and the sum of the bytes.
/// A value that is no number, or is infinite, makes the step so.
#[inline(always)]
fn round<const PER: usize>(values: &[f32], bytes: &mut [i8]) -> (f32, f32) {
    /// Adding it leaves a number's nearest whole neighbour, ties to even, in the lowest bits.
    const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23
    // As bits, infinity is above all numbers and NaN above infinity.
    let largest = values
        .iter()
        .fold(0, |largest: u32, value| largest.max(value.abs().to_bits()));
    let largest = f32::from_bits(largest);
    let per_step = TOP / largest;
    // Zeros, and values so small that their steps have no inverse, become zeros.
    let per_step = if per_step.is_finite() { per_step } else { 0.0 };
    let mut sum = 0;
    for (bytes, values) in bytes.chunks_exact_mut(PER).zip(values.chunks_exact(PER)) {
        for (at, value) in values.iter().enumerate() {
            let whole = (value * per_step + SHIFT)
                .to_bits()
                .wrapping_sub(SHIFT.to_bits()) as i32;
            bytes[place::<PER>(at)] = whole as i8;
            sum += i32::from(whole as i8);
        }
    }
    (largest / TOP, sum as f32)
}
