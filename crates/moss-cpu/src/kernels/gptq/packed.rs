//! A packed weight in the published layout.

use crate::GptqBits;

/// Consecutive rows of `qweight` that share a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// First row of words in `qweight`.
    pub(crate) first_row: usize,
    /// Rows of words.
    pub(crate) rows: usize,
    /// Row of `scales` and `qzeros`.
    pub(crate) group: usize,
}

/// A packed matrix.
pub(crate) struct Packed<'a> {
    pub(crate) bits: GptqBits,
    pub(crate) outputs: usize,
    /// Words of zero points per group.
    pub(crate) zero_words: usize,
    /// i32 `[rows of words, outputs]`
    pub(crate) qweight: &'a [u8],
    /// i32 `[groups, zero_words]`
    pub(crate) qzeros: &'a [u8],
    /// f16 `[groups, outputs]`
    pub(crate) scales: &'a [u8],
    pub(crate) segments: &'a [Segment],
    pub(crate) bias: Option<&'a [f32]>,
}

impl Packed<'_> {
    /// Returns the number of inputs, including those that pad a word.
    pub(super) fn inputs(&self) -> usize {
        self.qweight.len() / 4 / self.outputs.max(1) * self.bits.per_word()
    }

    /// Checks that every segment, group and output is inside the matrices.
    ///
    /// # Panics
    /// If one is not.
    pub(super) fn check(&self) {
        let per_word = self.bits.per_word();
        let groups = self
            .segments
            .iter()
            .map(|segment| segment.group + 1)
            .max()
            .unwrap_or(0);
        let last_row = self
            .segments
            .iter()
            .map(|segment| segment.first_row + segment.rows)
            .max()
            .unwrap_or(0);
        assert!(last_row * per_word <= self.inputs());
        assert!(
            self.scales.len() >= groups * self.outputs * 2
                && self.qzeros.len() >= groups * self.zero_words * 4
        );
        assert!(self.zero_words * per_word >= self.outputs);
        assert!(self.bias.is_none_or(|bias| bias.len() == self.outputs));
    }
}
