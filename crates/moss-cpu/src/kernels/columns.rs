//! Division of a matrix into tiles of columns, which threads write at the same time.

use std::marker::PhantomData;

/// Exclusive access to the columns `first..end` of a row-major f32 matrix.
pub(crate) struct Columns<'a> {
    /// Element `[0, first]`.
    start: *mut f32,
    rows: usize,
    /// Elements from one row to the next: the columns of the whole matrix.
    stride: usize,
    first: usize,
    end: usize,
    matrix: PhantomData<&'a mut [f32]>,
}

// SAFETY: a value stands for an exclusive borrow of f32 elements, as `&mut [f32]` does, which is
// `Send`. `split_columns` gives no element to two values.
unsafe impl Send for Columns<'_> {}

/// Divides a matrix with `cols` columns into tiles of `step` columns; the last may be narrower.
///
/// # Panics
/// If `cols` or `step` is zero, or `values` has a part of a row.
pub(crate) fn split_columns(values: &mut [f32], cols: usize, step: usize) -> Vec<Columns<'_>> {
    assert!(values.len().is_multiple_of(cols));
    let (start, rows) = (values.as_mut_ptr(), values.len() / cols);
    let tile = |first: usize| Columns {
        start: start.wrapping_add(first),
        rows,
        stride: cols,
        first,
        end: (first + step).min(cols),
        matrix: PhantomData,
    };
    (0..cols).step_by(step).map(tile).collect()
}

impl Columns<'_> {
    /// Returns the number of the first column in the matrix.
    #[inline(always)]
    pub(crate) fn first(&self) -> usize {
        self.first
    }

    /// Returns the number of columns.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.end - self.first
    }

    /// Returns these columns of a row.
    #[inline(always)]
    pub(crate) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows);
        // SAFETY: the tile is part of a matrix of `rows` whole rows, which is borrowed exclusively
        // for the lifetime of `self`; `row` is one of them, and `first..end` are columns of it, so
        // all elements are inside the matrix. No other tile contains these columns
        // (`split_columns`), and the result borrows `self`, so no other reference to them exists.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride), self.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_element_once() {
        let mut values = vec![0.0; 3 * 10];
        std::thread::scope(|scope| {
            for mut tile in split_columns(&mut values, 10, 4) {
                scope.spawn(move || {
                    for row in 0..3 {
                        let first = tile.first();
                        for (at, value) in tile.row(row).iter_mut().enumerate() {
                            *value += (row * 10 + first + at) as f32;
                        }
                    }
                });
            }
        });
        let expected: Vec<f32> = (0..30).map(|value| value as f32).collect();
        assert_eq!(values, expected);
    }

    #[test]
    #[should_panic(expected = "row < self.rows")]
    fn a_row_outside_the_matrix_panics() {
        let mut values = vec![0.0; 6];
        split_columns(&mut values, 3, 2)[0].row(2);
    }
}
