//! Memory of the host that a card reads by itself.

use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaStream, DeviceRepr, ValidAsZeroBits, result, sys};

use super::{Buffer, During, batched_memcpy::CopyRun};
use crate::KernelError;

/// `len` values of page-locked host memory: copies from and to it do not hold the host up.
pub struct Pinned<T> {
    start: *mut T,
    len: usize,
    uses: Uses,
}

/// When the card is done with some memory.
pub(super) struct Uses {
    stream: Arc<CudaStream>,
    /// The last copy that uses the memory.
    last: Arc<CudaEvent>,
    for_steps: bool,
}

impl Uses {
    /// Notes that a copy was put on the stream. One that is being recorded will be over when its
    /// graph is, which `Graph::launch` notes.
    pub(super) fn used(&self, what: &'static str) -> Result<(), KernelError> {
        match self.stream.capture_status().during(what)? {
            sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE => {
                self.last.record(&self.stream).during(what)
            }
            _ if self.for_steps => Ok(()),
            _ => {
                let message = "a copy was recorded of host memory that is not for that".into();
                Err(KernelError::Driver {
                    what,
                    code: 0,
                    message,
                })
            }
        }
    }

    fn wait(&self) -> Result<(), KernelError> {
        self.last.synchronize().during("wait for the GPU")
    }
}

// SAFETY: the memory is owned, and host code reaches it through `&self` and `&mut self` alone.
unsafe impl<T: Send> Send for Pinned<T> {}

impl<T> std::fmt::Debug for Pinned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinned")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        // A card that failed cannot be waited for; its copies are over too.
        let _ = self.uses.wait();
        // SAFETY: `malloc_host` gave the memory, and no copy uses it any more.
        let _ = unsafe { result::free_host(self.start.cast()) };
    }
}

impl<T: DeviceRepr + ValidAsZeroBits> Pinned<T> {
    /// Copies can be recorded where the memory is for `steps`, the event of the stream's graphs.
    pub(super) fn new(
        stream: &Arc<CudaStream>,
        len: usize,
        steps: Option<&Arc<CudaEvent>>,
    ) -> Result<Self, KernelError> {
        const WHAT: &str = "take page-locked host memory";
        let len = len.max(1);
        stream.context().bind_to_thread().during(WHAT)?;
        let last = match steps {
            Some(steps) => steps.clone(),
            None => Arc::new(stream.context().new_event(None).during(WHAT)?),
        };
        // SAFETY: set to zeros, which are values of `T`, before anybody sees it. No flags:
        // write-combined memory would be slow to read.
        let start = unsafe {
            let start: *mut T = result::malloc_host(len * size_of::<T>(), 0)
                .during(WHAT)?
                .cast();
            start.write_bytes(0, len);
            start
        };
        Ok(Self {
            start,
            len,
            uses: Uses {
                stream: stream.clone(),
                last,
                for_steps: steps.is_some(),
            },
        })
    }

    /// The values, once the copies that use them are done.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn as_mut_slice(&mut self) -> Result<&mut [T], KernelError> {
        self.uses.wait()?;
        // SAFETY: `len` values lie there, no copy uses them any more, and `self` is borrowed.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.start, self.len) })
    }

    /// The values, once the copies that use them are done.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn as_slice(&self) -> Result<&[T], KernelError> {
        self.uses.wait()?;
        // SAFETY: as above.
        Ok(unsafe { std::slice::from_raw_parts(self.start, self.len) })
    }

    /// Starts a copy of the first `len` values to `to`, from its value `at` on.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where they do not fit; [`KernelError::Driver`].
    pub fn copy_to(&mut self, to: &Buffer<T>, at: usize, len: usize) -> Result<(), KernelError> {
        let address = self.checked("copy to the GPU", to, at, len)?;
        self.uses
            .stream
            .context()
            .bind_to_thread()
            .during("copy to the GPU")?;
        // SAFETY: both extents were checked, and the host waits for the last use before it touches
        // the memory again; see `Uses`.
        unsafe {
            let from = std::slice::from_raw_parts(self.start, len);
            result::memcpy_htod_async(address, from, self.uses.stream.cu_stream())
                .during("copy to the GPU")?;
        }
        self.uses.used("copy to the GPU")
    }

    /// Starts a copy of `len` values of `from`, from its value `at` on, to the front of this.
    ///
    /// # Errors
    /// As for [`Pinned::copy_to`].
    pub fn copy_from(
        &mut self,
        from: &Buffer<T>,
        at: usize,
        len: usize,
    ) -> Result<(), KernelError> {
        let address = self.checked("copy from the GPU", from, at, len)?;
        self.uses
            .stream
            .context()
            .bind_to_thread()
            .during("copy from the GPU")?;
        // SAFETY: as above.
        unsafe {
            let to = std::slice::from_raw_parts_mut(self.start, len);
            result::memcpy_dtoh_async(to, address, self.uses.stream.cu_stream())
                .during("copy from the GPU")?;
        }
        self.uses.used("copy from the GPU")
    }

    /// The first `len` values on their way to `to`, from its value `at` on.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where they do not fit.
    pub fn run_to<'a>(
        &'a mut self,
        to: &'a Buffer<T>,
        at: usize,
        len: usize,
    ) -> Result<CopyRun<'a>, KernelError> {
        let to = self.checked("copy to the GPU", to, at, len)?;
        Ok(CopyRun::new::<T>(self.start as u64, to, len, &self.uses))
    }

    /// `len` values of `from`, from its value `at` on, on their way to the front of this.
    ///
    /// # Errors
    /// As for [`Pinned::run_to`].
    pub fn run_from<'a>(
        &'a mut self,
        from: &'a Buffer<T>,
        at: usize,
        len: usize,
    ) -> Result<CopyRun<'a>, KernelError> {
        let from = self.checked("copy from the GPU", from, at, len)?;
        Ok(CopyRun::new::<T>(from, self.start as u64, len, &self.uses))
    }

    /// The address of value `at` of `buffer`, which holds `len` more, as this does.
    fn checked(
        &self,
        op: &'static str,
        buffer: &Buffer<T>,
        at: usize,
        len: usize,
    ) -> Result<u64, KernelError> {
        let room = buffer.len.saturating_sub(at).min(self.len);
        super::rule(op, "length", len, len <= room, format!("at most {room}"))?;
        Ok(buffer.address() + (at * size_of::<T>()) as u64)
    }
}
