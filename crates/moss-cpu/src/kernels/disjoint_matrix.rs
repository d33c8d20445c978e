//! A result that several tasks write at once, each its own elements.

/// `[rows, cols]` f32, row-major. Tasks share it by value.
#[derive(Clone, Copy)]
pub(crate) struct DisjointMatrix<'a> {
    start: *mut f32,
    rows: usize,
    cols: usize,
    borrow: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer stands for an exclusive borrow that lives as long as 'a; tasks write disjoint
// elements (the contract of `at`), so sharing it between threads races nowhere.
unsafe impl Send for DisjointMatrix<'_> {}
// SAFETY: as above.
unsafe impl Sync for DisjointMatrix<'_> {}

impl<'a> DisjointMatrix<'a> {
    /// Borrows a matrix with `cols` columns.
    pub(crate) fn new(values: &'a mut [f32], cols: usize) -> Self {
        let rows = values.len().checked_div(cols).unwrap_or(0);
        Self {
            start: values.as_mut_ptr(),
            rows,
            cols,
            borrow: std::marker::PhantomData,
        }
    }

    /// Where element `[row, col]` lies; the rest of the row follows it.
    ///
    /// # Safety
    /// `row` and `col` are within the matrix, and no other task touches the elements that are
    /// written through the pointer.
    #[inline(always)]
    pub(crate) unsafe fn at(self, row: usize, col: usize) -> *mut f32 {
        debug_assert!(row < self.rows && col < self.cols);
        // SAFETY: within the borrowed matrix, by the contract above.
        unsafe { self.start.add(row * self.cols + col) }
    }
}
