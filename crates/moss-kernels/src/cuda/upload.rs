//! From host memory, mapped files above all, to a card: through two page-locked buffers, so that reading and copying overlap.

use super::{Buffer, Gpu, Pinned};
use crate::KernelError;

/// Bytes of one buffer: large enough for nearly the copy engine's full rate, small enough to stay in a core's cache between being
/// written and being fetched. Page-locking takes a millisecond a MiB or so, and there is an uploader a core.
const BUFFER_BYTES: usize = 1 << 20;

/// Two page-locked buffers that take turns. One thread fills them at a fraction of what a card takes in: several uploaders, each on a
/// thread of its own, share a card.
#[derive(Debug)]
pub struct Uploader {
    buffers: [Pinned<u8>; 2],
    turn: usize,
}

impl Uploader {
    /// # Errors
    /// [`KernelError::Driver`] where there is no page-locked memory left.
    pub fn new(gpu: &Gpu) -> Result<Self, KernelError> {
        Ok(Self { buffers: [gpu.pinned(BUFFER_BYTES)?, gpu.pinned(BUFFER_BYTES)?], turn: 0 })
    }

    /// Copies `bytes` to `to`, from its byte `at` on. `bytes` may go when this returns; the copy itself may still be under way.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where they do not fit; [`KernelError::Driver`].
    pub fn copy(&mut self, bytes: &[u8], to: &Buffer<u8>, at: usize) -> Result<(), KernelError> {
        for (part, bytes) in bytes.chunks(BUFFER_BYTES).enumerate() {
            let buffer = &mut self.buffers[self.turn];
            self.turn = 1 - self.turn;
            buffer.as_mut_slice()?[..bytes.len()].copy_from_slice(bytes);
            buffer.copy_to(to, at + part * BUFFER_BYTES, bytes.len())?;
        }
        Ok(())
    }
}
