//! From host memory, mapped files above all, to a card: through two page-locked buffers, so that
//! reading and copying overlap.

use super::{Buffer, Gpu, Pinned};
use crate::KernelError;

/// Bytes of one buffer: large enough for nearly the copy engine's full rate, small enough to stay
/// in a core's cache between being written and being fetched. Page-locking takes a millisecond a
/// MiB or so, and there is an uploader a core.
const BUFFER_BYTES: usize = 1 << 20;

/// Two page-locked buffers that take turns. One thread fills them at a fraction of what a card
/// takes in: several uploaders, each on a thread of its own, share a card.
pub struct Uploader<'a> {
    buffers: [Pinned<u8>; 2],
    turn: usize,
    read: &'a Read<'a>,
}

/// Reads the first bytes into the second, which are as many: from wherever they lie.
pub type Read<'a> = dyn Fn(&[u8], &mut [u8]) -> std::io::Result<()> + Sync + 'a;

impl std::fmt::Debug for Uploader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uploader")
            .field("buffers", &self.buffers)
            .finish_non_exhaustive()
    }
}

impl<'a> Uploader<'a> {
    /// # Errors
    /// [`KernelError::Driver`] where there is no page-locked memory left.
    pub fn new(gpu: &Gpu, read: &'a Read<'a>) -> Result<Self, KernelError> {
        Ok(Self {
            buffers: [gpu.pinned(BUFFER_BYTES)?, gpu.pinned(BUFFER_BYTES)?],
            turn: 0,
            read,
        })
    }

    /// Copies `bytes` to `to`, from its byte `at` on. `bytes` may go when this returns; the copy
    /// itself may still be under way.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where they do not fit; [`KernelError::Read`];
    /// [`KernelError::Driver`].
    pub fn copy(&mut self, bytes: &[u8], to: &Buffer<u8>, at: usize) -> Result<(), KernelError> {
        for (part, bytes) in bytes.chunks(BUFFER_BYTES).enumerate() {
            let buffer = &mut self.buffers[self.turn];
            self.turn = 1 - self.turn;
            let read = (self.read)(bytes, &mut buffer.as_mut_slice()?[..bytes.len()]);
            read.map_err(|source| KernelError::Read { source })?;
            buffer.copy_to(to, at + part * BUFFER_BYTES, bytes.len())?;
        }
        Ok(())
    }
}
