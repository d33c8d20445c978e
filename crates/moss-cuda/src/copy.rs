//! Copies between pageable host memory and device memory, and within device memory. Extents are
//! those of slices and views.

use std::sync::Arc;

use cudarc::driver::{CudaStream, result};
use moss_weights::{DriverCall, KernelError, Rule};

use crate::{
    buffer::View,
    contract::{During, rule},
};

/// Copies `values` to the start of `to` and waits until they have been read.
pub(crate) fn to_device<T>(
    stream: &Arc<CudaStream>,
    values: &[T],
    to: View<'_, T>,
) -> Result<(), KernelError> {
    const CALL: DriverCall = DriverCall::CopyTo;
    rule(
        "copy to the GPU",
        "values",
        values.len(),
        values.len() <= to.len(),
        Rule::AtMost(to.len()),
    )?;
    if values.is_empty() {
        return Ok(());
    }
    stream.context().bind_to_thread().during(CALL)?;
    // SAFETY: `to` has room for the values, as checked above, and both are borrowed until the copy
    // has finished, because this function waits for it.
    unsafe { result::memcpy_htod_async(to.address(), values, stream.cu_stream()) }.during(CALL)?;
    stream.synchronize().during(DriverCall::Synchronize)
}

/// Copies the start of `from` over `values` and waits for it.
pub(crate) fn from_device<T>(
    stream: &Arc<CudaStream>,
    from: View<'_, T>,
    values: &mut [T],
) -> Result<(), KernelError> {
    const CALL: DriverCall = DriverCall::CopyFrom;
    rule(
        "copy from the GPU",
        "values",
        values.len(),
        values.len() <= from.len(),
        Rule::AtMost(from.len()),
    )?;
    if values.is_empty() {
        return Ok(());
    }
    stream.context().bind_to_thread().during(CALL)?;
    // SAFETY: `from` has as many values, as checked above, and `values` is borrowed until the copy
    // has finished, because this function waits for it. The bytes are values of `T`: they were
    // copied from values of `T`, or written by a kernel that takes an address of `T`, or are zero.
    unsafe { result::memcpy_dtoh_async(values, from.address(), stream.cu_stream()) }
        .during(CALL)?;
    stream.synchronize().during(DriverCall::Synchronize)
}

/// Enqueues a copy of `from` to `to`, which are equally long and do not overlap.
pub(crate) fn within_device<T>(
    stream: &Arc<CudaStream>,
    from: View<'_, T>,
    to: View<'_, T>,
    call: DriverCall,
) -> Result<(), KernelError> {
    rule(
        "copy within the GPU",
        "values",
        to.len(),
        to.len() == from.len(),
        Rule::Exactly(from.len()),
    )?;
    let (bytes, stream) = (from.len() * size_of::<T>(), stream);
    stream.context().bind_to_thread().during(call)?;
    // SAFETY: both views have `bytes` bytes. They are of this GPU, whose address space the context
    // maps. Memory is freed in stream order, so it outlives the copy.
    unsafe { result::memcpy_dtod_async(to.address(), from.address(), bytes, stream.cu_stream()) }
        .during(call)
}

/// Enqueues a write of `byte` to every byte of `to`.
pub(crate) fn set_bytes<T>(
    stream: &Arc<CudaStream>,
    to: View<'_, T>,
    byte: u8,
) -> Result<(), KernelError> {
    const CALL: DriverCall = DriverCall::SetMemory;
    stream.context().bind_to_thread().during(CALL)?;
    let bytes = to.len() * size_of::<T>();
    // SAFETY: the view has `bytes` bytes. Memory is freed in stream order, so it outlives the
    // write.
    unsafe { result::memset_d8_async(to.address(), byte, bytes, stream.cu_stream()) }.during(CALL)
}
