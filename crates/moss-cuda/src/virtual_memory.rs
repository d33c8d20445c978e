//! Memory of a card at addresses that stay, taken piece by piece: a cache that grows under recorded
//! graphs.
//!
//! Source: CUDA driver API, virtual memory management: addresses are reserved first, memory is
//! taken and mapped to them later.

use std::{ffi::c_int, mem::zeroed, sync::Arc};

use cudarc::driver::{
    CudaStream, DriverError, result,
    sys::{
        self, CUdevice_attribute, CUmemAccess_flags, CUmemAccessDesc,
        CUmemAllocationGranularity_flags, CUmemAllocationProp, CUmemAllocationType, CUmemLocation,
        CUmemLocationType,
    },
};

/// Reserved addresses, of which the first are backed by memory.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) address: u64,
    reserved: usize,
    held: usize,
    /// Bytes that memory is taken in multiples of.
    granule: usize,
    /// Pieces in the order of their addresses, with their bytes.
    pieces: Vec<(u64, usize)>,
    pub(super) stream: Arc<CudaStream>,
}

impl Reserved {
    /// Room for `bytes`, without memory; `None` where the card cannot.
    pub(super) fn new(stream: &Arc<CudaStream>, bytes: usize) -> Result<Option<Self>, DriverError> {
        let context = stream.context();
        context.bind_to_thread()?;
        let can = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED;
        if context.attribute(can)? == 0 {
            return Ok(None);
        }
        let (property, mut granule, mut address) = (property(stream), 0, 0);
        let least = CUmemAllocationGranularity_flags::CU_MEM_ALLOC_GRANULARITY_MINIMUM;
        // SAFETY: the pointers are to locals that outlive the calls.
        let reserved = unsafe {
            sys::cuMemGetAllocationGranularity(&mut granule, &property, least).result()?;
            let reserved = bytes.max(1).next_multiple_of(granule);
            sys::cuMemAddressReserve(&mut address, reserved, 0, 0, 0).result()?;
            reserved
        };
        Ok(Some(Self {
            address,
            reserved,
            held: 0,
            granule,
            pieces: Vec::new(),
            stream: stream.clone(),
        }))
    }

    /// Takes memory for the first `bytes`, zeros as far as it is new. What there was stays, and
    /// stays where it was; where there is no memory left, too.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), DriverError> {
        let wanted = bytes.next_multiple_of(self.granule).min(self.reserved);
        if wanted <= self.held {
            return Ok(());
        }
        self.stream.context().bind_to_thread()?;
        let (at, size, property) = (
            self.address + self.held as u64,
            wanted - self.held,
            property(&self.stream),
        );
        let access = CUmemAccessDesc {
            location: property.location,
            flags: CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
        };
        let mut piece = 0;
        // SAFETY: the addresses are reserved and nothing is mapped to them; the pointers are to
        // locals that outlive the calls.
        unsafe {
            sys::cuMemCreate(&mut piece, size, &property, 0).result()?;
            if let Err(error) = sys::cuMemMap(at, size, 0, piece, 0).result() {
                let _ = sys::cuMemRelease(piece); // it is the first error that tells
                return Err(error);
            }
            self.pieces.push((piece, size));
            self.held = wanted;
            sys::cuMemSetAccess(at, size, &access, 1).result()?;
            result::memset_d8_async(at, 0, size, self.stream.cu_stream())
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // A card that failed cannot be waited for; nothing of it runs any more.
        let _ = self.stream.synchronize();
        let _ = self.stream.context().bind_to_thread();
        let mut at = self.address;
        for (piece, size) in self.pieces.drain(..) {
            // SAFETY: mapped by `hold` at this address, and nothing on the stream uses it any more.
            unsafe {
                let _ = sys::cuMemUnmap(at, size);
                let _ = sys::cuMemRelease(piece);
            }
            at += size as u64;
        }
        // SAFETY: reserved by `new`, and nothing is mapped there any more.
        let _ = unsafe { sys::cuMemAddressFree(self.address, self.reserved) };
    }
}

/// Memory of the stream's card.
fn property(stream: &CudaStream) -> CUmemAllocationProp {
    // SAFETY: plain numbers, of which zero is one, and enums with a variant of zero.
    let mut property: CUmemAllocationProp = unsafe { zeroed() };
    property.type_ = CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
    property.location.type_ = CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE;
    let location: *mut CUmemLocation = &raw mut property.location;
    // SAFETY: the card's number is the second word; newer toolkits have it in a union, under
    // another name.
    unsafe {
        location
            .cast::<c_int>()
            .add(1)
            .write(stream.context().cu_device())
    };
    property
}
