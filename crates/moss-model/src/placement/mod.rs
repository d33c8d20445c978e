//! Placement: assigns consecutive layers to devices. A pure function of byte counts.
//!
//! The first stage has the embedding, the last the final norm and lm_head. A single token passes
//! through the stages one after another, so that its time is the sum of their times. With several
//! tokens or micro-batches in flight, the slowest stage limits the throughput. [`place`] therefore
//! minimizes the time of the slowest stage: the bytes that it reads per token, weights and full KV
//! cache, divided by the bandwidth.

mod advice;
mod bytes;
mod capacity;
mod error;
mod plan;
mod search;

pub use bytes::ModelBytes;
pub use capacity::{Capacity, WantedCapacity, capacity};
pub use error::{Change, PlacementError, Shortfall};
pub use plan::{Device, DeviceKind, LeftOut, Note, Placement, Request, Stage};

/// Places the layers.
///
/// Every entry of the device list gets consecutive layers or none, in the order of the list and
/// within the free memory of its device. With GPUs and `cpu`, as little work as possible is left to
/// the CPU. Then the slowest stage is as fast as possible, then the second slowest, and so on. A
/// device that is listed several times runs several stages within its memory.
///
/// # Errors
/// [`PlacementError::DoesNotFit`] with the missing bytes of each device; other variants for invalid
/// requests.
pub fn place(request: &Request<'_>) -> Result<Placement, PlacementError> {
    request.check()?;
    search::best(request).map_err(|shortfalls| PlacementError::DoesNotFit {
        shortfalls,
        changes: advice::changes(request),
    })
}
