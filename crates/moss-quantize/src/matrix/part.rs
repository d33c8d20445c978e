//! The parts of a matrix that a product reads, and how it stores its result.

use std::ops::Range;

/// A block of a matrix, or its transpose.
#[derive(Debug, Clone)]
pub(crate) struct Region {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
    pub(crate) transposed: bool,
}

/// Treatment of the previous values of a product's destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Overwrite,
    Add,
}

impl Region {
    /// Rows and columns of the operand.
    pub(crate) fn shape(&self) -> (usize, usize) {
        let (rows, columns) = (self.rows.len(), self.columns.len());
        if self.transposed {
            (columns, rows)
        } else {
            (rows, columns)
        }
    }
}
