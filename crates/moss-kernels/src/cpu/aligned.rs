//! Room for values that begin on a cache line.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;

/// f32 values, zero at first, of which no aligned vector lies across two cache lines. The allocator begins large blocks 16 bytes
/// past a page: there, every 64-byte load would touch two lines and take the time of two.
pub(crate) struct Aligned {
    /// Pages of zeros, which the system hands out as they are first touched.
    room: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(crate) fn zeros(len: usize) -> Self {
        let room = vec![0.0; len + LINE / size_of::<f32>()];
        // Where the line is cannot be known, in theory; then the values are where they are.
        let start = room.as_ptr().align_offset(LINE).min(room.len() - len);
        Self { room, start, len }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.room[self.start..][..self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.room[self.start..][..self.len]
    }
}
