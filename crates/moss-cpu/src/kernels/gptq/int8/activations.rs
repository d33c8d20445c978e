//! 8-bit activations: inputs rounded to bytes, with a step for each piece of a row.

use rayon::prelude::*;

use crate::kernels::{
    Isa,
    floats::Floats,
    gptq::packed::Segment,
    simd::{Chunk, Kernel, Simd},
};

/// Inputs of a piece, at most: sums of their products with 8-bit weights are below 2^24.
pub(super) const MAX_PIECE: usize = 512;
/// The largest byte in use; its negative is the smallest.
const MAX_BYTE: f32 = 127.0;
/// Rows that are multiplied with a piece of the weight one after the other: their bytes and results
/// stay in the first-level cache. A multiple of the rows of a tile.
pub(super) const ROW_BLOCK: usize = 48;

/// Inputs of the product.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// `[rows, inputs]`
    pub(crate) x: Floats<'a>,
    pub(crate) rows: usize,
    /// Input of each column of the weight, if they are permuted. An index past the inputs is
    /// padding, which counts as 0.
    pub(crate) order: Option<&'a [u32]>,
}

/// Rounded inputs in the order in which kernels read them: blocks of [`ROW_BLOCK`] rows, in these
/// the pieces, in these the rows.
pub(crate) struct Int8Activations {
    pub(super) rows: usize,
    pub(super) pieces: Vec<Segment>,
    /// Words of a row and packed word: 1 or 2.
    words_per_packed: usize,
    /// Words of a row.
    columns: usize,
    /// Four signed bytes each.
    words: Vec<[u8; 4]>,
    /// Value of a byte of 1, for each row of a piece.
    steps: Vec<f32>,
    /// Sum of the bytes, for each row of a piece.
    sums: Vec<f32>,
}

impl Int8Activations {
    pub(crate) fn new<const PER: usize>(isa: Isa, x: Inputs<'_>, segments: &[Segment]) -> Self {
        let (rows, words_per_packed) = (x.rows, PER / 4);
        let pieces: Vec<Segment> = segments
            .iter()
            .flat_map(|segment| pieces_of(*segment, MAX_PIECE / PER))
            .collect();
        let columns = pieces
            .last()
            .map_or(0, |last| (last.first_row + last.rows) * words_per_packed);
        let mut words = vec![[0; 4]; rows * columns];
        let mut steps = vec![0.0; rows * pieces.len()];
        let mut sums = vec![0.0; rows * pieces.len()];
        words
            .par_chunks_mut(ROW_BLOCK * columns)
            .zip(steps.par_chunks_mut(ROW_BLOCK * pieces.len()))
            .zip(sums.par_chunks_mut(ROW_BLOCK * pieces.len()))
            .enumerate()
            .for_each(|(block, ((words, steps), sums))| {
                isa.run(Block::<PER> {
                    x,
                    first_row: block * ROW_BLOCK,
                    pieces: &pieces,
                    words,
                    steps,
                    sums,
                });
            });
        Self {
            rows,
            pieces,
            words_per_packed,
            columns,
            words,
            steps,
            sums,
        }
    }

    /// Returns the indices of a row of a piece in `words`, and in `steps` and `sums`. The next rows
    /// of the block follow.
    fn index(&self, piece: usize, row: usize) -> (usize, usize) {
        let (first, row) = (row / ROW_BLOCK * ROW_BLOCK, row % ROW_BLOCK);
        let rows = ROW_BLOCK.min(self.rows - first);
        let Segment {
            first_row,
            rows: packed,
            ..
        } = self.pieces[piece];
        let word = first * self.columns + (first_row * rows + packed * row) * self.words_per_packed;
        (word, first * self.pieces.len() + piece * rows + row)
    }

    /// Returns the words of a row of a piece.
    #[inline(always)]
    pub(super) fn row(&self, piece: usize, row: usize) -> &[[u8; 4]] {
        &self.rows_from(piece, row)[..self.pieces[piece].rows * self.words_per_packed]
    }

    /// Returns the words of a row of a piece, followed by those of the next rows of the block.
    #[inline(always)]
    pub(super) fn rows_from(&self, piece: usize, row: usize) -> &[[u8; 4]] {
        &self.words[self.index(piece, row).0..]
    }

    /// Returns the steps of a piece, from `row` to the end of the block at least.
    #[inline(always)]
    pub(super) fn steps(&self, piece: usize, row: usize) -> &[f32] {
        &self.steps[self.index(piece, row).1..]
    }

    /// Returns the sums of bytes of a piece, from `row` to the end of the block at least.
    #[inline(always)]
    pub(super) fn sums(&self, piece: usize, row: usize) -> &[f32] {
        &self.sums[self.index(piece, row).1..]
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

/// Returns the position of input `at` of a packed word among its bytes. With 4-bit fields, a mask
/// extracts every second field.
#[inline(always)]
pub(super) const fn position<const PER: usize>(at: usize) -> usize {
    if PER == 8 { at / 2 + at % 2 * 4 } else { at }
}

/// Rounds a block of rows.
struct Block<'a, const PER: usize> {
    x: Inputs<'a>,
    first_row: usize,
    pieces: &'a [Segment],
    words: &'a mut [[u8; 4]],
    steps: &'a mut [f32],
    sums: &'a mut [f32],
}

impl<const PER: usize> Kernel for Block<'_, PER> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Inputs { x, rows, order } = self.x;
        let inputs = x.len() / rows;
        let rows = self.steps.len() / self.pieces.len();
        let bytes = self.words.as_flattened_mut();
        let mut values = [0.0f32; MAX_PIECE];
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
                let bytes = &mut bytes[first * rows + columns * row..][..columns];
                let at = index * rows + row;
                (self.steps[at], self.sums[at]) = round::<PER>(values, bytes);
            }
        }
    }
}

/// Rounds values to multiples of the step that makes the largest one 127. Returns the step and the
/// sum of the bytes. With infinity or NaN among the values, the step is infinity or NaN.
#[inline(always)]
fn round<const PER: usize>(values: &[f32], bytes: &mut [u8]) -> (f32, f32) {
    // 1.5 * 2^23: the lowest bits of its sum with a value are the nearest integer, ties to even.
    const SHIFT: f32 = 12_582_912.0;
    // As bits, infinity is above all numbers and NaN above infinity.
    let largest = values
        .iter()
        .fold(0, |largest: u32, value| largest.max(value.abs().to_bits()));
    let largest = f32::from_bits(largest);
    let per_step = MAX_BYTE / largest;
    // Zeros, and values so small that the inverse of their step overflows, become zeros.
    let per_step = if per_step.is_finite() { per_step } else { 0.0 };
    let mut sum = 0;
    let packed = <[u8; PER]>::split_mut(bytes);
    for (bytes, values) in packed.iter_mut().zip(values.chunks_exact(PER)) {
        for (at, value) in values.iter().enumerate() {
            let whole = (value * per_step + SHIFT)
                .to_bits()
                .wrapping_sub(SHIFT.to_bits()) as i8;
            bytes[position::<PER>(at)] = whole as u8;
            sum += i32::from(whole);
        }
    }
    (largest / MAX_BYTE, sum as f32)
}
