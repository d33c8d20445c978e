//! Rows of vectors at a constant distance.

use std::marker::PhantomData;

use super::{plain::Plain, simd::Chunk};

/// `M` rows of chunks in a matrix. All rows have the same length, so a loop over it needs no bounds
/// check per row, and one pointer and the distance are enough to address all rows.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, C, const M: usize> {
    start: *const u8,
    /// Bytes from one row to the next.
    stride: usize,
    /// Chunks of a row.
    len: usize,
    values: PhantomData<&'a [C]>,
}

impl<'a, C: Plain, const M: usize> Rows<'a, C, M> {
    /// Returns `M` rows of `len` chunks, which are `stride` values apart.
    ///
    /// # Panics
    /// If a row ends after `values`.
    #[inline(always)]
    pub(crate) fn new<T>(values: &'a [T], stride: usize, len: usize) -> Self
    where
        C: Chunk<T>,
    {
        const {
            assert!(align_of::<C>() <= align_of::<T>());
            assert!(size_of::<C>().is_multiple_of(size_of::<T>()));
        }
        for row in 0..M {
            let chunks = values
                .get(row * stride..)
                .map_or(0, |row| C::split(row).len());
            assert!(len <= chunks);
        }
        Self {
            start: values.as_ptr().cast(),
            stride: stride * size_of::<T>(),
            len,
            values: PhantomData,
        }
    }

    /// Returns the number of chunks of a row.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns chunk `at` of a row.
    ///
    /// # Panics
    /// If the row or the chunk does not exist.
    #[inline(always)]
    pub(crate) fn get(&self, row: usize, at: usize) -> &'a C {
        assert!(row < M && at < self.len);
        // SAFETY: `new` has checked that each of the `M` rows starts `row * stride` bytes after
        // `start` and has `len` whole chunks before the end of the borrowed slice, so the chunk is
        // inside it. The offset is a multiple of the size of a value, so the chunk, whose alignment
        // is not larger, is aligned. Every bit pattern is a valid chunk (`Plain`), and the result has
        // the lifetime of the borrow.
        unsafe {
            let offset = row * self.stride + at * size_of::<C>();
            &*self.start.add(offset).cast::<C>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [u32; 11] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

    #[test]
    fn rows_have_a_constant_distance() {
        let rows = Rows::<[u32; 2], 2>::new(&VALUES, 6, 2);
        assert_eq!(rows.len(), 2);
        let all = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(row, at)| *rows.get(row, at));
        assert_eq!(all, [[0, 1], [2, 3], [6, 7], [8, 9]]);
    }

    #[test]
    #[should_panic(expected = "len <= chunks")]
    fn a_row_that_ends_after_the_values_panics() {
        Rows::<[u32; 2], 2>::new(&VALUES, 6, 3);
    }

    #[test]
    #[should_panic(expected = "at < self.len")]
    fn a_chunk_after_the_end_of_a_row_panics() {
        Rows::<[u32; 2], 2>::new(&VALUES, 6, 2).get(0, 2);
    }
}
