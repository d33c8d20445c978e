//! Typed values in page-locked host memory, and copies between them and buffers.

use std::{marker::PhantomData, sync::Arc};

use cudarc::driver::{CudaEvent, CudaStream, DeviceRepr, ValidAsZeroBits, sys};
use moss_weights::{DriverCall, KernelError, Rule};

use crate::{
    address::{In, Out},
    args,
    buffer::{Buffer, View},
    contract::{During, bytes_of, rule},
    device_id::DeviceId,
    page_locked::PageLocked,
};

/// `len` values in page-locked host memory. Copies from and to it do not block the host.
pub struct Pinned<T> {
    memory: PageLocked,
    len: usize,
    stream: Arc<CudaStream>,
    device: DeviceId,
    is_for_graphs: bool,
    values: PhantomData<T>,
}

impl<T> std::fmt::Debug for Pinned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinned")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// A copy between a [`Pinned`] and a [`Buffer`], for [`crate::Gpu::batched_memcpy`].
pub struct CopyRun<'a> {
    pub(crate) run: args::CopyRun,
    pub(crate) device: DeviceId,
    memory: &'a dyn Used,
}

impl std::fmt::Debug for CopyRun<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyRun")
            .field("words", &self.run.words)
            .finish_non_exhaustive()
    }
}

impl CopyRun<'_> {
    /// Records that the copy has been enqueued.
    pub(crate) fn used(&self, call: DriverCall) -> Result<(), KernelError> {
        self.memory.used(call)
    }
}

/// Memory of any type that copies use.
trait Used {
    fn used(&self, call: DriverCall) -> Result<(), KernelError>;
}

impl<T> Used for Pinned<T> {
    /// Records that a copy was enqueued. A copy that is being captured will have finished when its
    /// graph has, which `Graph::launch` records.
    fn used(&self, call: DriverCall) -> Result<(), KernelError> {
        match self.stream.capture_status().during(call)? {
            sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE => {
                self.memory.last_use().record(&self.stream).during(call)
            }
            _ if self.is_for_graphs => Ok(()),
            _ => Err(KernelError::Driver {
                what: call,
                code: 0,
                message: "a copy of host memory that is not for CUDA graphs was captured".into(),
            }),
        }
    }
}

impl<T: DeviceRepr + ValidAsZeroBits> Pinned<T> {
    /// Allocates `len` zeros. Copies can be captured in CUDA graphs if `graphs` is the event that
    /// is recorded after the graphs of the stream.
    pub(crate) fn new(
        stream: &Arc<CudaStream>,
        device: DeviceId,
        len: usize,
        graphs: Option<&Arc<CudaEvent>>,
    ) -> Result<Self, KernelError> {
        const CALL: DriverCall = DriverCall::AllocatePinned;
        let (len, context) = (len.max(1), stream.context());
        let last_use = match graphs {
            Some(graphs) => graphs.clone(),
            None => Arc::new(context.new_event(None).during(CALL)?),
        };
        Ok(Self {
            memory: PageLocked::new(
                context,
                bytes_of::<T>("pinned memory", len)?,
                last_use,
                CALL,
            )?,
            len,
            stream: stream.clone(),
            device,
            is_for_graphs: graphs.is_some(),
            values: PhantomData,
        })
    }

    /// Waits for the copies that use the values, and returns them.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn as_mut_slice(&mut self) -> Result<&mut [T], KernelError> {
        self.wait()?;
        let start = self.memory.start().cast();
        // SAFETY: the memory has `len` values of `T`, which are zero or copied from values of `T`,
        // aligned to a page. The copies that use it have finished. `self` is borrowed mutably for
        // as long as the slice, so no other slice exists and no copy can start.
        Ok(unsafe { std::slice::from_raw_parts_mut(start, self.len) })
    }

    /// Waits for the copies that use the values, and returns them.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn as_slice(&self) -> Result<&[T], KernelError> {
        self.wait()?;
        let start = self.memory.start().cast_const().cast();
        // SAFETY: as for `as_mut_slice`. `self` is borrowed for as long as the slice, so neither a
        // mutable slice exists nor can a copy start, which borrows it mutably.
        Ok(unsafe { std::slice::from_raw_parts(start, self.len) })
    }

    /// Enqueues a copy of the first `len` values to the values of `to` from `at` on.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if they do not fit; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn copy_to(&mut self, to: &Buffer<T>, at: usize, len: usize) -> Result<(), KernelError> {
        const CALL: DriverCall = DriverCall::CopyTo;
        let to = self.checked("copy to the GPU", to, at, len)?;
        self.memory.copy_to(&self.stream, to, CALL)?;
        self.used(CALL)
    }

    /// Enqueues a copy of `len` values of `from` from `at` on to the first values.
    ///
    /// # Errors
    /// As for [`Pinned::copy_to`].
    pub fn copy_from(
        &mut self,
        from: &Buffer<T>,
        at: usize,
        len: usize,
    ) -> Result<(), KernelError> {
        const CALL: DriverCall = DriverCall::CopyFrom;
        let from = self.checked("copy from the GPU", from, at, len)?;
        self.memory.copy_from(&self.stream, from, CALL)?;
        self.used(CALL)
    }

    /// Returns the copy of the first `len` values to the values of `to` from `at` on.
    ///
    /// # Errors
    /// As for [`Pinned::copy_to`].
    pub fn run_to<'a>(
        &'a mut self,
        to: &'a Buffer<T>,
        at: usize,
        len: usize,
    ) -> Result<CopyRun<'a>, KernelError> {
        let to = self.checked("copy to the GPU", to, at, len)?.address();
        Ok(self.run(self.memory.start() as u64, to, len))
    }

    /// As [`Pinned::run_to`], for `rows` rows of `row_len` values of 4 bytes. Of each row, only as many
    /// values are copied as its first one says, itself included. It is read when the copy runs.
    ///
    /// # Errors
    /// As for [`Pinned::copy_to`].
    pub fn counted_rows_to<'a>(
        &'a mut self,
        to: &'a Buffer<T>,
        rows: usize,
        row_len: usize,
    ) -> Result<CopyRun<'a>, KernelError> {
        const { assert!(size_of::<T>() == 4) };
        let mut copy = self.run_to(to, 0, rows * row_len)?;
        copy.run.row_words = row_len as u64;
        Ok(copy)
    }

    /// Returns the copy of `len` values of `from` from `at` on to the first values.
    ///
    /// # Errors
    /// As for [`Pinned::copy_to`].
    pub fn run_from<'a>(
        &'a mut self,
        from: &'a Buffer<T>,
        at: usize,
        len: usize,
    ) -> Result<CopyRun<'a>, KernelError> {
        let from = self.checked("copy from the GPU", from, at, len)?.address();
        Ok(self.run(from, self.memory.start() as u64, len))
    }

    /// Describes a copy between addresses of `len` values each.
    fn run(&self, from: u64, to: u64, len: usize) -> CopyRun<'_> {
        const { assert!(size_of::<T>().is_multiple_of(4) && align_of::<T>().is_multiple_of(4)) };
        CopyRun {
            run: args::CopyRun {
                from: In::checked(from),
                to: Out::checked(to),
                words: (len * size_of::<T>() / 4) as u64,
                row_words: 0,
            },
            device: self.device,
            memory: self,
        }
    }

    /// Returns the `len` values of `buffer` from `at` on, if this memory has as many values.
    fn checked<'a>(
        &self,
        op: &'static str,
        buffer: &'a Buffer<T>,
        at: usize,
        len: usize,
    ) -> Result<View<'a, T>, KernelError> {
        self.device.check(op, "buffer", buffer.device)?;
        rule(op, "length", len, len <= self.len, Rule::AtMost(self.len))?;
        buffer.all().part(op, at, len)
    }

    fn wait(&self) -> Result<(), KernelError> {
        let last_use = self.memory.last_use();
        last_use.synchronize().during(DriverCall::Synchronize)
    }
}
