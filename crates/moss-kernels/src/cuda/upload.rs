//! From host memory, mapped files above all, to a card: through two page-locked buffers, so that reading and copying overlap.

use rayon::prelude::*;

use super::{Buffer, Gpu, Pinned};
use crate::KernelError;

/// Bytes of one buffer: large enough for the copy engine's full rate.
const BUFFER_BYTES: usize = 32 << 20;

/// Bytes that one thread copies at a time.
const PART_BYTES: usize = 1 << 20;

/// Two page-locked buffers that take turns.
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
            let staged = &mut buffer.as_mut_slice()?[..bytes.len()];
            let parts = staged.par_chunks_mut(PART_BYTES).zip(bytes.par_chunks(PART_BYTES));
            parts.for_each(|(to, from)| to.copy_from_slice(from));
            buffer.copy_to(to, at + part * BUFFER_BYTES, bytes.len())?;
        }
        Ok(())
    }
}
