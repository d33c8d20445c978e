//! What a card's memory gives, and how long work takes: the yardsticks of every figure.

use std::{
    ffi::c_void,
    sync::{Arc, OnceLock},
    time::Instant,
};

use cudarc::driver::{
    result,
    sys::{self, CUevent_flags},
};

use super::{During, Gpu};
use crate::KernelError;

const WHAT: &str = "measure";

impl Gpu {
    /// Seconds that `run` takes on the card, by its own clock.
    ///
    /// # Errors
    /// What `run` returns; [`KernelError::Driver`].
    pub fn time<E: From<KernelError>>(
        &self,
        run: impl FnOnce() -> Result<(), E>,
    ) -> Result<f64, E> {
        let event = || {
            self.stream
                .context()
                .new_event(Some(CUevent_flags::CU_EVENT_DEFAULT))
                .during(WHAT)
        };
        let (begin, end) = (event()?, event()?);
        begin.record(&self.stream).during(WHAT)?;
        run()?;
        end.record(&self.stream).during(WHAT)?;
        end.synchronize().during(WHAT)?;
        // SAFETY: both events are complete, and of one stream.
        let milliseconds =
            unsafe { result::event::elapsed(begin.cu_event(), end.cu_event()) }.during(WHAT)?;
        Ok(f64::from(milliseconds) / 1e3)
    }

    /// Has the host note the time when the stream comes by.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn note(&self, moment: &Arc<OnceLock<Instant>>) -> Result<(), KernelError> {
        self.stream.context().bind_to_thread().during(WHAT)?;
        let data = Arc::into_raw(moment.clone()).cast_mut().cast::<c_void>();
        // SAFETY: `note_now` takes what `into_raw` gave, and is called once.
        unsafe { sys::cuLaunchHostFunc(self.stream.cu_stream(), Some(note_now), data) }
            .result()
            .during(WHAT)
    }

    /// Bytes a second, read and written, of a copy within the card: the best of several, of up to 2
    /// GiB.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`]; [`KernelError::Driver`].
    pub fn copy_bandwidth(&self) -> Result<f64, KernelError> {
        let bytes = (2usize << 30).min(self.free_memory()? as usize / 4) & !0xFFFF;
        let (from, to) = (self.zeros::<u8>(bytes)?, self.zeros::<u8>(bytes)?);
        self.fill_random(&from, 1, u32::MAX, [0, 0])?;
        let mut best = 0.0f64;
        for _ in 0..8 {
            let seconds = self.time(|| {
                // SAFETY: both buffers hold `bytes` bytes.
                unsafe {
                    result::memcpy_dtod_async(
                        to.address(),
                        from.address(),
                        bytes,
                        self.stream.cu_stream(),
                    )
                }
                .during(WHAT)
            })?;
            best = best.max(2.0 * bytes as f64 / seconds);
        }
        Ok(best)
    }

    /// Bytes a second from page-locked host memory to the card.
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
/// `data` is an `Arc<OnceLock<Instant>>` given away.
unsafe extern "C" fn note_now(data: *mut c_void) {
    // SAFETY: the caller's.
    let moment = unsafe { Arc::from_raw(data.cast_const().cast::<OnceLock<Instant>>()) };
    let _ = moment.set(Instant::now()); // the first time counts
}
