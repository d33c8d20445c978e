//! Buffers that start on a cache line.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;

/// Values, initially zero, in which no aligned vector crosses a cache line. The allocator places
/// large blocks 16 bytes past a page, where every 64-byte load would access two lines and take twice
/// as long.
pub(crate) struct Aligned<T = f32> {
    /// Zero pages, which the system allocates when they are first written.
    storage: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    pub(crate) fn zeros(len: usize) -> Self {
        let storage = vec![T::default(); len + LINE / size_of::<T>()];
        // `align_offset` may fail in principle. Then the values are not aligned, but still correct.
        let start = storage.as_ptr().align_offset(LINE).min(storage.len() - len);
        Self {
            storage,
            start,
            len,
        }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.storage[self.start..][..self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.storage[self.start..][..self.len]
    }
}
