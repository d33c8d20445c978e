//! A task of the dense matrix product.

use std::marker::PhantomData;

use super::super::{
    columns::Columns,
    element::Element,
    rows::Rows,
    simd::{Chunk, Simd},
};

/// Rows up to which GEMV is used: it converts each weight in registers, once for all rows.
pub(super) const GEMV_ROWS: usize = 4;
/// Inputs of one block: a tile's rows of `x` and `W` stay in the first-level cache.
pub(super) const BLOCK: usize = 1024;
/// Inputs are padded with zeros to a multiple of this, so that `x` is read in whole vectors.
const PAD: usize = 16;

/// Returns the number of values from one row of `x` to the next. With GEMM, rows are one cache line
/// further apart than necessary: at the model's widths they would otherwise share a few sets of the
/// first-level cache.
pub(crate) fn row_stride(rows: usize, inputs: usize) -> usize {
    inputs.next_multiple_of(PAD) + if rows > GEMV_ROWS { PAD } else { 0 }
}

/// A tile of outputs, for all rows.
pub(super) struct Task<'a, E> {
    /// `[rows, row_stride]`
    pub(super) x: &'a [f32],
    pub(super) rows: usize,
    /// `[outputs, inputs]`, elements of type `E`.
    pub(super) weight: &'a [u8],
    pub(super) inputs: usize,
    /// `[outputs]`
    pub(super) bias: Option<&'a [f32]>,
    /// `[rows, outputs]`
    pub(super) out: Columns<'a>,
    pub(super) element: PhantomData<E>,
}

impl<'a, E: Element> Task<'a, E> {
    /// Returns `len` vectors of the first `M` rows of `x`, from input `first` on.
    #[inline(always)]
    pub(super) fn x<S: Simd, const M: usize>(
        &self,
        first: usize,
        len: usize,
    ) -> Rows<'a, S::Floats, M> {
        let stride = row_stride(self.rows, self.inputs);
        Rows::new(&self.x[first..], stride, len)
    }

    /// Returns the bytes of the weights of an output.
    #[inline(always)]
    pub(super) fn weight(&self, output: usize) -> &'a [u8] {
        let len = self.inputs * size_of::<E>();
        &self.weight[output * len..][..len]
    }

    /// Returns the address of a weight, which may be past the end: for prefetches.
    #[inline(always)]
    pub(super) fn address(&self, output: usize, input: usize) -> *const u8 {
        let offset = (output * self.inputs + input) * size_of::<E>();
        self.weight.as_ptr().wrapping_add(offset)
    }

    /// Loads the last inputs of a row of weights, fewer than a vector has lanes. The other lanes are
    /// zero.
    #[inline(always)]
    pub(super) fn load_tail<S: Simd>(simd: S, tail: &[u8]) -> S::F {
        let mut buffer = [0u8; 64];
        buffer[..tail.len()].copy_from_slice(tail);
        E::load(simd, &E::Packed::<S>::split(&buffer)[0])
    }

    /// Writes a sum of products of the tile's output `at`.
    #[inline(always)]
    pub(super) fn write(&mut self, row: usize, at: usize, sum: f32) {
        let bias = self.bias.map_or(0.0, |bias| bias[self.out.first() + at]);
        self.out.row(row)[at] = sum + bias;
    }
}
