//! Room for values that begin on a cache line.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;

/// Values, zero at first, of which no aligned vector lies across two cache lines. The allocator
/// begins large blocks 16 bytes past a page: there, every 64-byte load would touch two lines and
/// take the time of two.
pub(crate) struct Aligned<T = f32> {
    /// Pages of zeros, which the system hands out as they are first touched.
    room: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    pub(crate) fn zeros(len: usize) -> Self {
        let room = vec![T::default(); len + LINE / size_of::<T>()];
        // Where the line is cannot be known, in theory; then the values are where they are.
        let start = room.as_ptr().align_offset(LINE).min(room.len() - len);
        Self { room, start, len }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.room[self.start..][..self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.room[self.start..][..self.len]
    }
}
