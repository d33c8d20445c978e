//! Memory of a card, and memory of the host that a card reads by itself.

use std::{marker::PhantomData, sync::Arc};

use candle_core::cuda_backend::cudarc::driver::{
    CudaEvent, CudaSlice, CudaStream, DevicePtr, DeviceRepr, ValidAsZeroBits, result, sys,
};

use super::{During, reserved::Reserved};
use crate::KernelError;

/// `len` values on a card. Freed, in the order of its stream, when dropped.
#[derive(Debug)]
pub struct Buffer<T> {
    pub(super) memory: Memory<T>,
    pub(super) len: usize,
}

/// Where the values of a [`Buffer`] lie.
#[derive(Debug)]
pub(super) enum Memory<T> {
    Taken(CudaSlice<T>),
    /// There is memory for the first of them alone.
    Reserved(Reserved),
}

impl<T> Buffer<T> {
    /// Values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes.
    pub fn bytes(&self) -> u64 {
        (self.len * size_of::<T>()) as u64
    }

    /// `len` values from `at` on.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where there are fewer.
    pub fn view(&self, at: usize, len: usize) -> Result<View<'_, T>, KernelError> {
        let room = self.len.saturating_sub(at);
        super::rule("view of GPU memory", "length", len, len <= room, format!("at most {room}"))?;
        Ok(View { address: self.address() + (at * size_of::<T>()) as u64, len, buffer: PhantomData })
    }

    /// All values.
    pub fn all(&self) -> View<'_, T> {
        View { address: self.address(), len: self.len, buffer: PhantomData }
    }

    pub(super) fn address(&self) -> u64 {
        match &self.memory {
            Memory::Taken(slice) => slice.device_ptr(slice.stream()).0,
            Memory::Reserved(reserved) => reserved.address,
        }
    }

    pub(super) fn ptr(&self) -> *const T {
        self.address() as *const T
    }

    pub(super) fn ptr_mut(&self) -> *mut T {
        self.address() as *mut T
    }
}

/// A run of values within a [`Buffer`].
#[derive(Debug)]
pub struct View<'a, T> {
    address: u64,
    pub(super) len: usize,
    buffer: PhantomData<&'a Buffer<T>>,
}

impl<T> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for View<'_, T> {}

impl<'a, T> View<'a, T> {
    /// The values that the bytes of `buffer` are.
    pub(super) fn of_bytes(buffer: &'a Buffer<u8>) -> Self {
        Self { address: buffer.address(), len: buffer.len / size_of::<T>(), buffer: PhantomData }
    }

    pub(super) fn ptr(&self) -> *const T {
        self.address as *const T
    }

    pub(super) fn ptr_mut(&self) -> *mut T {
        self.address as *mut T
    }
}

/// `len` values of page-locked host memory: copies from and to it do not hold the host up.
pub struct Pinned<T> {
    start: *mut T,
    len: usize,
    stream: Arc<CudaStream>,
    /// The last copy that uses the memory.
    last_use: Arc<CudaEvent>,
    for_steps: bool,
}

// SAFETY: the memory is owned, and host code reaches it through `&self` and `&mut self` alone.
unsafe impl<T: Send> Send for Pinned<T> {}

impl<T> std::fmt::Debug for Pinned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinned").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        // A card that failed cannot be waited for; its copies are over too.
        let _ = self.last_use.synchronize();
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
        let last_use = match steps {
            Some(steps) => steps.clone(),
            None => Arc::new(stream.context().new_event(None).during(WHAT)?),
        };
        // SAFETY: set to zeros, which are values of `T`, before anybody sees it. No flags: write-combined memory would be slow to read.
        let start = unsafe {
            let start: *mut T = result::malloc_host(len * size_of::<T>(), 0).during(WHAT)?.cast();
            start.write_bytes(0, len);
            start
        };
        Ok(Self { start, len, stream: stream.clone(), last_use, for_steps: steps.is_some() })
    }

    /// Notes that a copy was put on the stream. One that is being recorded will be over when its graph is, which `Graph::launch` notes.
    fn used(&self, what: &'static str) -> Result<(), KernelError> {
        match self.stream.capture_status().during(what)? {
            sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE => {
                self.last_use.record(&self.stream).during(what)
            }
            _ if self.for_steps => Ok(()),
            _ => {
                let message = "a copy was recorded of host memory that is not for that".into();
                Err(KernelError::Driver { what, code: 0, message })
            }
        }
    }

    /// The values, once the copies that use them are done.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn as_mut_slice(&mut self) -> Result<&mut [T], KernelError> {
        self.last_use.synchronize().during("wait for the GPU")?;
        // SAFETY: `len` values lie there, no copy uses them any more, and `self` is borrowed.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.start, self.len) })
    }

    /// The values, once the copies that use them are done.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn as_slice(&self) -> Result<&[T], KernelError> {
        self.last_use.synchronize().during("wait for the GPU")?;
        // SAFETY: as above.
        Ok(unsafe { std::slice::from_raw_parts(self.start, self.len) })
    }

    /// Starts a copy of the first `len` values to `to`, from its value `at` on.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where they do not fit; [`KernelError::Driver`].
    pub fn copy_to(&mut self, to: &Buffer<T>, at: usize, len: usize) -> Result<(), KernelError> {
        let room = to.len.saturating_sub(at).min(self.len);
        super::rule("copy to the GPU", "length", len, len <= room, format!("at most {room}"))?;
        let address = to.address() + (at * size_of::<T>()) as u64;
        self.stream.context().bind_to_thread().during("copy to the GPU")?;
        // SAFETY: both extents were checked, and the host waits for `last_use` before it touches the memory again; see `used`.
        unsafe {
            let from = std::slice::from_raw_parts(self.start, len);
            result::memcpy_htod_async(address, from, self.stream.cu_stream()).during("copy to the GPU")?;
        }
        self.used("copy to the GPU")
    }

    /// Starts a copy of `len` values of `from`, from its value `at` on, to the front of this.
    ///
    /// # Errors
    /// As for [`Pinned::copy_to`].
    pub fn copy_from(&mut self, from: &Buffer<T>, at: usize, len: usize) -> Result<(), KernelError> {
        let room = from.len.saturating_sub(at).min(self.len);
        super::rule("copy from the GPU", "length", len, len <= room, format!("at most {room}"))?;
        let address = from.address() + (at * size_of::<T>()) as u64;
        self.stream.context().bind_to_thread().during("copy from the GPU")?;
        // SAFETY: as above.
        unsafe {
            let to = std::slice::from_raw_parts_mut(self.start, len);
            result::memcpy_dtoh_async(to, address, self.stream.cu_stream()).during("copy from the GPU")?;
        }
        self.used("copy from the GPU")
    }
}
