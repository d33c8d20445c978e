//! Transfers of hidden states between stages: peer-to-peer where the GPUs support it, otherwise
//! through page-locked host memory.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaEvent, DeviceRepr, sys};
use moss_weights::{DriverCall, KernelError, Rule};

use crate::{
    buffer::{Buffer, View},
    contract::{During, rule},
    copy,
    device::Gpu,
    device_id::DeviceId,
    page_locked::PageLocked,
};

const OP: &str = "stage transfer";
const CALL: DriverCall = DriverCall::Transfer;

/// The path of a stage transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferPath {
    /// Within one GPU.
    SameDevice,
    /// From GPU to GPU without host memory (P2P, NVLink).
    PeerToPeer,
    /// Through page-locked host memory.
    Host,
}

/// Transfers from one [`Gpu`]'s stream to another's. The receiver's stream waits for what the
/// sender has enqueued, and the sender's stream waits for the copy. The host waits for neither.
#[derive(Debug)]
pub struct StageTransfer {
    /// The streams of sender and receiver.
    ends: [DeviceId; 2],
    path: TransferPath,
    /// Host memory, for [`TransferPath::Host`].
    staging: Option<PageLocked>,
    /// Recorded on the sender's stream when the values are complete.
    ready: CudaEvent,
    /// Recorded on the receiver's stream after the copy.
    received: Arc<CudaEvent>,
}

impl StageTransfer {
    /// Prepares transfers of up to `bytes` bytes. They go through host memory if the GPUs cannot
    /// access each other's memory, or if `peer` is false.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn new(from: &Gpu, to: &Gpu, bytes: usize, peer: bool) -> Result<Self, KernelError> {
        let (sender, receiver) = (from.stream.context(), to.stream.context());
        let path = if sender.cu_ctx() == receiver.cu_ctx() {
            TransferPath::SameDevice
        } else if peer && enable_peer_access(sender, receiver)? {
            TransferPath::PeerToPeer
        } else {
            TransferPath::Host
        };
        let ready = sender.new_event(None).during(CALL)?;
        let received = Arc::new(receiver.new_event(None).during(CALL)?);
        let staging = match path {
            TransferPath::Host => Some(PageLocked::new(sender, bytes, received.clone(), CALL)?),
            _ => None,
        };
        Ok(Self {
            ends: [from.id, to.id],
            path,
            staging,
            ready,
            received,
        })
    }

    /// Returns the path of the transfers.
    pub fn path(&self) -> TransferPath {
        self.path
    }

    /// Enqueues a copy of the first `len` values of `source` to `target`, behind the work that
    /// `from` has enqueued and before later work of `to`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if they do not fit; [`KernelError::WrongDevice`] and
    /// [`KernelError::WrongStream`] for buffers of others, and for other GPUs than those that the
    /// transfer was created for; [`KernelError::Driver`].
    pub fn copy<T: DeviceRepr>(
        &mut self,
        (from, source): (&Gpu, &Buffer<T>),
        (to, target): (&Gpu, &Buffer<T>),
        len: usize,
    ) -> Result<(), KernelError> {
        let [sender, receiver] = self.ends;
        sender.check(OP, "sender", from.id)?;
        receiver.check(OP, "receiver", to.id)?;
        from.id.check(OP, "source", source.device)?;
        to.id.check(OP, "target", target.device)?;
        let (source, target) = (
            source.all().part(OP, 0, len)?,
            target.all().part(OP, 0, len)?,
        );
        match &self.staging {
            None => {
                self.wait_for_sender(from, to)?;
                self.copy_directly(from, to, source, target)?;
            }
            Some(staging) => {
                let (bytes, capacity) = (len * size_of::<T>(), staging.bytes());
                rule(
                    OP,
                    "bytes",
                    bytes,
                    bytes <= capacity,
                    Rule::AtMost(capacity),
                )?;
                // The sender's stream waits for `received` before it writes the memory again.
                staging.copy_from(&from.stream, source, CALL)?;
                self.wait_for_sender(from, to)?;
                staging.copy_to(&to.stream, target, CALL)?;
            }
        }
        self.received.record(&to.stream).during(CALL)?;
        from.stream.wait(&self.received).during(CALL)
    }

    /// Makes the stream of `to` wait for the work that `from` has enqueued.
    fn wait_for_sender(&self, from: &Gpu, to: &Gpu) -> Result<(), KernelError> {
        self.ready.record(&from.stream).during(CALL)?;
        to.stream.wait(&self.ready).during(CALL)
    }

    fn copy_directly<T>(
        &self,
        from: &Gpu,
        to: &Gpu,
        source: View<'_, T>,
        target: View<'_, T>,
    ) -> Result<(), KernelError> {
        if self.path == TransferPath::SameDevice {
            return copy::within_device(&to.stream, source, target, CALL);
        }
        let (sender, receiver) = (from.stream.context().cu_ctx(), to.stream.context().cu_ctx());
        let bytes = source.len() * size_of::<T>();
        to.stream.context().bind_to_thread().during(CALL)?;
        // SAFETY: both views have `bytes` bytes, because `copy` cut them to one length. `source`
        // belongs to `from` and `target` to `to`, as `copy` checked, so the contexts are theirs.
        // The copy is between `ready` and `received`, so neither stream uses the memory meanwhile,
        // and memory is freed in stream order.
        unsafe {
            sys::cuMemcpyPeerAsync(
                target.address(),
                receiver,
                source.address(),
                sender,
                bytes,
                to.stream.cu_stream(),
            )
        }
        .result()
        .during(CALL)
    }
}

/// Enables access between the memory of two GPUs in both directions. Returns false if they do not
/// support it.
fn enable_peer_access(a: &Arc<CudaContext>, b: &Arc<CudaContext>) -> Result<bool, KernelError> {
    for (from, to) in [(a, b), (b, a)] {
        let mut supported = 0;
        // SAFETY: both devices are open, and the pointer is to a local that outlives the call.
        unsafe { sys::cuDeviceCanAccessPeer(&mut supported, from.cu_device(), to.cu_device()) }
            .result()
            .during(CALL)?;
        if supported == 0 {
            return Ok(false);
        }
    }
    for (from, to) in [(a, b), (b, a)] {
        from.bind_to_thread().during(CALL)?;
        // SAFETY: the `Arc`s keep both contexts alive, and the context of `from` is current.
        match unsafe { sys::cuCtxEnablePeerAccess(to.cu_ctx(), 0) } {
            sys::CUresult::CUDA_SUCCESS | sys::CUresult::CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED => {
            }
            // Other GPUs use all hardware resources for peer access.
            sys::CUresult::CUDA_ERROR_TOO_MANY_PEERS => return Ok(false),
            error => error.result().during(CALL)?,
        }
    }
    Ok(true)
}
