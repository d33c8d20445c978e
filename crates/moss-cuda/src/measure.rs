//! Measurements: time on the GPU, and memory bandwidth.

use std::{
    ffi::c_void,
    sync::{Arc, OnceLock},
    time::Instant,
};

use cudarc::driver::{
    result,
    sys::{self, CUevent_flags},
};
use moss_weights::{DriverCall, KernelError};

use crate::{contract::During, copy, device::Gpu};

const CALL: DriverCall = DriverCall::Measure;

impl Gpu {
    /// Returns the seconds that the work enqueued by `run` takes, measured by events on the GPU.
    ///
    /// # Errors
    /// Those of `run`; [`KernelError::Driver`].
    pub fn time<E: From<KernelError>>(
        &self,
        run: impl FnOnce() -> Result<(), E>,
    ) -> Result<f64, E> {
        let event = || {
            self.stream
                .context()
                .new_event(Some(CUevent_flags::CU_EVENT_DEFAULT))
                .during(CALL)
        };
        let (begin, end) = (event()?, event()?);
        begin.record(&self.stream).during(CALL)?;
        run()?;
        end.record(&self.stream).during(CALL)?;
        end.synchronize().during(CALL)?;
        // SAFETY: both events are alive, were recorded with timing on this stream, and have
        // completed: `end` is behind `begin`.
        let milliseconds =
            unsafe { result::event::elapsed(begin.cu_event(), end.cu_event()) }.during(CALL)?;
        Ok(f64::from(milliseconds) / 1e3)
    }

    /// Enqueues a host function that sets `moment` to the time at which the stream reaches it.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn record_time(&self, moment: &Arc<OnceLock<Instant>>) -> Result<(), KernelError> {
        self.stream.context().bind_to_thread().during(CALL)?;
        let data = Arc::into_raw(moment.clone()).cast_mut().cast::<c_void>();
        // SAFETY: `data` is from `Arc::into_raw` and is passed to one call of `set_moment`, whose
        // precondition that is. After an error the driver does not call it, and the count leaks.
        unsafe { sys::cuLaunchHostFunc(self.stream.cu_stream(), Some(set_moment), data) }
            .result()
            .during(CALL)
    }

    /// Returns the bytes per second, reads plus writes, of a copy within device memory: the best of
    /// eight, of up to 2 GiB.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`]; [`KernelError::Driver`].
    pub fn copy_bandwidth(&self) -> Result<f64, KernelError> {
        let bytes = (2usize << 30).min(self.free_memory()? as usize / 4) & !0xFFFF;
        let (from, to) = (self.zeros::<u8>(bytes)?, self.zeros::<u8>(bytes)?);
        self.fill_random(&from, 1, u32::MAX, [0, 0])?;
        let mut best = 0.0f64;
        for _ in 0..8 {
            let seconds =
                self.time(|| copy::within_device(&self.stream, from.all(), to.all(), CALL))?;
            best = best.max(2.0 * bytes as f64 / seconds);
        }
        Ok(best)
    }

    /// Returns the bytes per second of a copy from page-locked host memory to the GPU.
    ///
    /// # Errors
    /// As for [`Gpu::copy_bandwidth`].
    pub fn upload_bandwidth(&self) -> Result<f64, KernelError> {
        const BYTES: usize = 256 << 20;
        let mut from = self.pinned::<u8>(BYTES)?;
        let to = self.zeros::<u8>(BYTES)?;
        let mut best = 0.0f64;
        for _ in 0..4 {
            let seconds = self.time(|| from.copy_to(&to, 0, BYTES))?;
            best = best.max(BYTES as f64 / seconds);
        }
        Ok(best)
    }
}

/// # Safety
/// `data` is the result of `Arc::<OnceLock<Instant>>::into_raw`, and is not used by another call.
unsafe extern "C" fn set_moment(data: *mut c_void) {
    // SAFETY: by the precondition of this function, the count of the `Arc` is owned here.
    let moment = unsafe { Arc::from_raw(data.cast_const().cast::<OnceLock<Instant>>()) };
    let _ = moment.set(Instant::now()); // the first time counts
}
