//! Copies of weights from host memory, such as memory-mapped files, to the GPU. Two page-locked
//! buffers overlap reading with copying.

use moss_weights::KernelError;

use crate::{buffer::Buffer, device::Gpu, pinned::Pinned};

/// Bytes of one buffer: large enough for nearly the full rate of the copy engine, small enough to
/// stay in a core's cache between write and copy. Page-locking takes about 1 ms per MiB, and each
/// loading thread has an uploader.
const BUFFER_BYTES: usize = 1 << 20;

/// Two page-locked buffers that are filled alternately. One thread fills them at a fraction of the
/// rate that a GPU accepts, so several threads load one GPU, each with its uploader.
pub struct Uploader<'a> {
    buffers: [Pinned<u8>; 2],
    next: usize,
    read: &'a Read<'a>,
}

/// Reads the bytes of the first slice, which may be memory-mapped, into the second of equal length.
pub type Read<'a> = dyn Fn(&[u8], &mut [u8]) -> std::io::Result<()> + Sync + 'a;

impl std::fmt::Debug for Uploader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uploader")
            .field("buffers", &self.buffers)
            .finish_non_exhaustive()
    }
}

impl<'a> Uploader<'a> {
    /// Allocates the buffers.
    ///
    /// # Errors
    /// [`KernelError::Driver`] if page-locked memory is exhausted.
    pub fn new(gpu: &Gpu, read: &'a Read<'a>) -> Result<Self, KernelError> {
        Ok(Self {
            buffers: [gpu.pinned(BUFFER_BYTES)?, gpu.pinned(BUFFER_BYTES)?],
            next: 0,
            read,
        })
    }

    /// Copies `bytes` to the bytes of `to` from `at` on. When it returns, `bytes` have been read;
    /// the copy to the GPU may be pending.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if they do not fit; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::Read`]; [`KernelError::Driver`].
    pub fn copy(&mut self, bytes: &[u8], to: &Buffer<u8>, at: usize) -> Result<(), KernelError> {
        for (part, bytes) in bytes.chunks(BUFFER_BYTES).enumerate() {
            let buffer = &mut self.buffers[self.next];
            self.next = 1 - self.next;
            let read = (self.read)(bytes, &mut buffer.as_mut_slice()?[..bytes.len()]);
            read.map_err(|source| KernelError::Read { source })?;
            buffer.copy_to(to, at + part * BUFFER_BYTES, bytes.len())?;
        }
        Ok(())
    }
}
