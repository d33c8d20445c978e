//! Page-locked host memory, which GPUs access directly.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaEvent, CudaStream, result, sys};
use moss_weights::{DriverCall, KernelError};

use crate::{buffer::View, contract::During};

/// Bytes of page-locked host memory. They belong to every context of the process.
#[derive(Debug)]
pub(crate) struct PageLocked {
    start: *mut u8,
    bytes: usize,
    /// Recorded after the last copy that uses the memory.
    last_use: Arc<CudaEvent>,
    context: Arc<CudaContext>,
}

// SAFETY: the memory is owned by this value, and neither it nor the driver's functions that free it
// depend on the thread.
unsafe impl Send for PageLocked {}

impl Drop for PageLocked {
    fn drop(&mut self) {
        // If the GPU has failed, the wait fails, and its copies have ended too.
        let _ = self.last_use.synchronize();
        let _ = self.context.bind_to_thread();
        // SAFETY: `malloc_host` returned the address, and the copies that use the memory have
        // finished: `last_use` was recorded after the last one.
        let _ = unsafe { result::free_host(self.start.cast()) };
    }
}

impl PageLocked {
    /// Allocates `bytes` zeros. The owner records `last_use` after every copy.
    pub(crate) fn new(
        context: &Arc<CudaContext>,
        bytes: usize,
        last_use: Arc<CudaEvent>,
        call: DriverCall,
    ) -> Result<Self, KernelError> {
        let bytes = bytes.max(1);
        context.bind_to_thread().during(call)?;
        // SAFETY: the driver returns an address of `bytes` bytes or an error; they are written here
        // before they can be read. No flags: the CPU reads write-combined memory slowly.
        let start = unsafe {
            let start: *mut u8 = result::malloc_host(bytes, 0).during(call)?.cast();
            start.write_bytes(0, bytes);
            start
        };
        Ok(Self {
            start,
            bytes,
            last_use,
            context: context.clone(),
        })
    }

    /// Returns the address, which is the same for the host and for GPUs.
    pub(crate) fn start(&self) -> *mut u8 {
        self.start
    }

    /// Returns the size.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the event after the last use.
    pub(crate) fn last_use(&self) -> &CudaEvent {
        &self.last_use
    }

    /// Enqueues a copy of the first bytes to `to`, whose size is at most [`PageLocked::bytes`].
    pub(crate) fn copy_to<T>(
        &self,
        stream: &CudaStream,
        to: View<'_, T>,
        call: DriverCall,
    ) -> Result<(), KernelError> {
        let bytes = self.bytes.min(to.len() * size_of::<T>());
        stream.context().bind_to_thread().during(call)?;
        // SAFETY: both extents are at least `bytes`. The memory lives until `last_use`, which its
        // owner records behind this copy; device memory is freed in stream order.
        unsafe {
            sys::cuMemcpyHtoDAsync_v2(
                to.address(),
                self.start.cast_const().cast(),
                bytes,
                stream.cu_stream(),
            )
        }
        .result()
        .during(call)
    }

    /// Enqueues a copy of `from`, whose size is at most [`PageLocked::bytes`], to the first bytes.
    pub(crate) fn copy_from<T>(
        &self,
        stream: &CudaStream,
        from: View<'_, T>,
        call: DriverCall,
    ) -> Result<(), KernelError> {
        let bytes = self.bytes.min(from.len() * size_of::<T>());
        stream.context().bind_to_thread().during(call)?;
        // SAFETY: as for `copy_to`. No slice of the memory exists now: `Pinned` lends slices for as
        // long as it is borrowed, and a copy borrows it mutably.
        unsafe {
            sys::cuMemcpyDtoHAsync_v2(self.start.cast(), from.address(), bytes, stream.cu_stream())
        }
        .result()
        .during(call)
    }
}
