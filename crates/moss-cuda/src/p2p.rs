//! From one stream of work to the next: values that a stage leaves to the stage behind it.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaEvent, DeviceRepr, result, sys};

use super::{Buffer, During, Gpu};
use crate::KernelError;

const WHAT: &str = "hand over to the next stage";

/// How values travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkWay {
    /// Within one card.
    SameCard,
    /// From card to card, without the host.
    Peer,
    /// Through page-locked memory of the host.
    Host,
}

/// The way from one [`Gpu`]'s stream to another's. The receiver waits for what the sender has
/// started, the sender for the receiver to have taken it; the host waits for neither.
pub struct Link {
    way: LinkWay,
    /// Page-locked host memory and its bytes, for [`LinkWay::Host`].
    staging: Option<(*mut u8, usize)>,
    ready: CudaEvent,
    taken: CudaEvent,
    sender: Arc<CudaContext>,
}

// SAFETY: the staging memory is owned, and only copies of the two streams touch it.
unsafe impl Send for Link {}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("way", &self.way)
            .finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // A card that failed cannot be waited for; its copies are over too.
        let _ = self.taken.synchronize();
        if let Some((start, _)) = self.staging {
            let _ = self.sender.bind_to_thread();
            // SAFETY: `malloc_host` gave the memory, and no copy uses it any more.
            let _ = unsafe { result::free_host(start.cast()) };
        }
    }
}

impl Link {
    /// A way for up to `bytes` bytes at a time; through the host where the cards cannot reach each
    /// other, or where `peer` forbids it.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn new(from: &Gpu, to: &Gpu, bytes: usize, peer: bool) -> Result<Self, KernelError> {
        let (sender, receiver) = (from.stream.context(), to.stream.context());
        let way = match sender.cu_ctx() == receiver.cu_ctx() {
            true => LinkWay::SameCard,
            false if peer && reach(sender, receiver)? => LinkWay::Peer,
            false => LinkWay::Host,
        };
        let staging = match way {
            LinkWay::Host => {
                sender.bind_to_thread().during(WHAT)?;
                // SAFETY: nobody reads it before a copy has written it. Page-locked memory belongs
                // to every context of the process.
                let start = unsafe { result::malloc_host(bytes.max(1), 0) }.during(WHAT)?;
                Some((start.cast(), bytes))
            }
            _ => None,
        };
        let (ready, taken) = (
            sender.new_event(None).during(WHAT)?,
            receiver.new_event(None).during(WHAT)?,
        );
        Ok(Self {
            way,
            staging,
            ready,
            taken,
            sender: sender.clone(),
        })
    }

    /// How values travel.
    pub fn way(&self) -> LinkWay {
        self.way
    }

    /// Puts a copy of the first `len` values of `source` to `target` behind what `from` has been
    /// given to do; what `to` is given next comes after it.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where they do not fit; [`KernelError::Driver`].
    pub fn copy<T: DeviceRepr>(
        &mut self,
        (from, source): (&Gpu, &Buffer<T>),
        (to, target): (&Gpu, &Buffer<T>),
        len: usize,
    ) -> Result<(), KernelError> {
        let room = source.len().min(target.len());
        super::rule(WHAT, "length", len, len <= room, format!("at most {room}"))?;
        let bytes = len * size_of::<T>();
        let (source, target) = (source.address(), target.address());
        match self.staging {
            None => {
                self.hand_to(from, to)?;
                self.direct(from, to, source, target, bytes)?;
            }
            Some((start, capacity)) => {
                super::rule(
                    WHAT,
                    "bytes",
                    bytes,
                    bytes <= capacity,
                    format!("at most {capacity}"),
                )?;
                from.stream.context().bind_to_thread().during(WHAT)?;
                // SAFETY: `capacity` bytes lie there; the sender waits for `taken` before it writes
                // them again. Extents were checked above.
                unsafe {
                    let staged = std::slice::from_raw_parts_mut(start, bytes);
                    result::memcpy_dtoh_async(staged, source, from.stream.cu_stream())
                        .during(WHAT)?;
                }
                self.hand_to(from, to)?;
                to.stream.context().bind_to_thread().during(WHAT)?;
                // SAFETY: as above; the receiver reads behind `ready`.
                unsafe {
                    let staged = std::slice::from_raw_parts(start.cast_const(), bytes);
                    result::memcpy_htod_async(target, staged, to.stream.cu_stream())
                        .during(WHAT)?;
                }
            }
        }
        self.taken.record(&to.stream).during(WHAT)?;
        from.stream.wait(&self.taken).during(WHAT)
    }

    /// What `to` is given next waits for what `from` has been given so far.
    fn hand_to(&self, from: &Gpu, to: &Gpu) -> Result<(), KernelError> {
        self.ready.record(&from.stream).during(WHAT)?;
        to.stream.wait(&self.ready).during(WHAT)
    }

    fn direct(
        &self,
        from: &Gpu,
        to: &Gpu,
        source: u64,
        target: u64,
        bytes: usize,
    ) -> Result<(), KernelError> {
        let stream = to.stream.cu_stream();
        to.stream.context().bind_to_thread().during(WHAT)?;
        if self.way == LinkWay::SameCard {
            // SAFETY: both extents were checked by the caller, and the copy stands between `ready`
            // and `taken`.
            return unsafe { result::memcpy_dtod_async(target, source, bytes, stream) }
                .during(WHAT);
        }
        let (sender, receiver) = (from.stream.context().cu_ctx(), to.stream.context().cu_ctx());
        // SAFETY: as above; the contexts are those of the two allocations.
        unsafe { sys::cuMemcpyPeerAsync(target, receiver, source, sender, bytes, stream) }
            .result()
            .during(WHAT)
    }
}

/// Whether two cards reach each other's memory, which it then opens in both directions.
fn reach(a: &Arc<CudaContext>, b: &Arc<CudaContext>) -> Result<bool, KernelError> {
    for (from, to) in [(a, b), (b, a)] {
        let mut able = 0;
        // SAFETY: the pointer is to a local that outlives the call.
        unsafe { sys::cuDeviceCanAccessPeer(&mut able, from.cu_device(), to.cu_device()) }
            .result()
            .during(WHAT)?;
        if able == 0 {
            return Ok(false);
        }
    }
    for (from, to) in [(a, b), (b, a)] {
        from.bind_to_thread().during(WHAT)?;
        // SAFETY: both contexts are alive.
        match unsafe { sys::cuCtxEnablePeerAccess(to.cu_ctx(), 0) } {
            sys::CUresult::CUDA_SUCCESS | sys::CUresult::CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED => {
            }
            // All the ways there are may be taken by other cards.
            sys::CUresult::CUDA_ERROR_TOO_MANY_PEERS => return Ok(false),
            error => error.result().during(WHAT)?,
        }
    }
    Ok(true)
}
