//! Virtual memory of a GPU: addresses are reserved first and mapped to memory in pieces, so that a
//! cache grows while captured CUDA graphs keep its addresses.
//!
//! Source: CUDA driver API, virtual memory management.

use std::{ffi::c_int, mem::zeroed, sync::Arc};

use cudarc::driver::{
    CudaStream, DriverError, result,
    sys::{
        self, CUdevice_attribute, CUmemAccess_flags, CUmemAccessDesc,
        CUmemAllocationGranularity_flags, CUmemAllocationProp, CUmemAllocationType, CUmemLocation,
        CUmemLocationType,
    },
};

/// Reserved addresses. The first are mapped to memory.
#[derive(Debug)]
pub(crate) struct Reservation {
    address: u64,
    reserved: usize,
    mapped: usize,
    /// Memory is mapped in multiples of this many bytes.
    granularity: usize,
    /// Handle and bytes of each piece, in the order of the addresses.
    pieces: Vec<(u64, usize)>,
    stream: Arc<CudaStream>,
}

impl Reservation {
    /// Reserves addresses for `bytes`; `None` if the GPU has no virtual memory management.
    pub(crate) fn new(stream: &Arc<CudaStream>, bytes: usize) -> Result<Option<Self>, DriverError> {
        let context = stream.context();
        context.bind_to_thread()?;
        let supported = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED;
        if context.attribute(supported)? == 0 {
            return Ok(None);
        }
        let (property, mut granularity, mut address) = (property(stream), 0, 0);
        let least = CUmemAllocationGranularity_flags::CU_MEM_ALLOC_GRANULARITY_MINIMUM;
        // SAFETY: the context is current, and the pointers are to locals that outlive the calls.
        let reserved = unsafe {
            sys::cuMemGetAllocationGranularity(&mut granularity, &property, least).result()?;
            let reserved = bytes.max(1).next_multiple_of(granularity);
            sys::cuMemAddressReserve(&mut address, reserved, 0, 0, 0).result()?;
            reserved
        };
        Ok(Some(Self {
            address,
            reserved,
            mapped: 0,
            granularity,
            pieces: Vec::new(),
            stream: stream.clone(),
        }))
    }

    /// Returns the first address.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// Maps the first `bytes` to memory, of which the new part is zero. Memory that is mapped
    /// already keeps its addresses and values, also after an error.
    pub(crate) fn ensure_mapped(&mut self, bytes: usize) -> Result<(), DriverError> {
        let wanted = bytes.next_multiple_of(self.granularity).min(self.reserved);
        if wanted <= self.mapped {
            return Ok(());
        }
        self.stream.context().bind_to_thread()?;
        let (at, size, property) = (
            self.address + self.mapped as u64,
            wanted - self.mapped,
            property(&self.stream),
        );
        let access = CUmemAccessDesc {
            location: property.location,
            flags: CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
        };
        let mut piece = 0;
        // SAFETY: `at..at + size` is within the reservation, and nothing is mapped there, because
        // pieces are mapped in order. The pointers are to locals that outlive the calls. The write
        // of zeros comes after the mapping has succeeded.
        unsafe {
            sys::cuMemCreate(&mut piece, size, &property, 0).result()?;
            if let Err(error) = sys::cuMemMap(at, size, 0, piece, 0).result() {
                let _ = sys::cuMemRelease(piece); // the first error is the cause
                return Err(error);
            }
            self.pieces.push((piece, size));
            self.mapped = wanted;
            sys::cuMemSetAccess(at, size, &access, 1).result()?;
            result::memset_d8_async(at, 0, size, self.stream.cu_stream())
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // If the GPU has failed, the wait fails, and its kernels have ended too.
        let _ = self.stream.synchronize();
        let _ = self.stream.context().bind_to_thread();
        let mut at = self.address;
        for (piece, size) in self.pieces.drain(..) {
            // SAFETY: `ensure_mapped` mapped the piece at this address, because pieces are in the
            // order of their addresses. The stream, on which alone the memory is used, has
            // finished.
            unsafe {
                let _ = sys::cuMemUnmap(at, size);
                let _ = sys::cuMemRelease(piece);
            }
            at += size as u64;
        }
        // SAFETY: `new` reserved this range, and every piece in it was unmapped above.
        let _ = unsafe { sys::cuMemAddressFree(self.address, self.reserved) };
    }
}

/// Returns the properties of memory of the stream's GPU.
fn property(stream: &CudaStream) -> CUmemAllocationProp {
    // SAFETY: the struct consists of integers and of enums that have a variant of value zero, so
    // all bytes zero is a value.
    let mut property: CUmemAllocationProp = unsafe { zeroed() };
    property.type_ = CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
    property.location.type_ = CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE;
    let location: *mut CUmemLocation = &raw mut property.location;
    // SAFETY: `CUmemLocation` is two words in every version of the driver API: the type, and the
    // number of the GPU, which newer versions put in a union under another name. The pointer is to
    // a local.
    unsafe {
        location
            .cast::<c_int>()
            .add(1)
            .write(stream.context().cu_device())
    };
    property
}
