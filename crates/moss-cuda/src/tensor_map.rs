//! Tensor maps: the descriptors by which kernels of sm_90 copy boxes of a tensor to shared memory
//! (bulk tensor copies, TMA).

use std::ffi::c_void;

use cudarc::driver::sys::{
    self, CUtensorMap, CUtensorMapDataType, CUtensorMapFloatOOBfill, CUtensorMapInterleave,
    CUtensorMapL2promotion, CUtensorMapSwizzle,
};
use half::f16;
use moss_weights::{DriverCall, KernelError, Rule};

use crate::{
    args::TensorMap,
    buffer::View,
    contract::{During, rule},
    launch::Call,
};

const OP: &str = "tensor map";

/// Bytes to which the address and the strides of a tensor must be aligned.
const ALIGNMENT: usize = 16;

/// Highest rank of a tensor here; the driver supports 5.
const MAX_RANK: usize = 3;

/// A tensor in f16 and the boxes that are copied from it. Dimension 0 is contiguous.
pub(crate) struct Boxes<'a, const RANK: usize, const STRIDES: usize> {
    pub(crate) values: View<'a, f16>,
    /// Extent of each dimension.
    pub(crate) extents: [usize; RANK],
    /// Values from one index to the next, of the dimensions after dimension 0.
    pub(crate) strides: [usize; STRIDES],
    /// Extent of a box in each dimension. Elements outside the tensor are zero.
    pub(crate) boxed: [u32; RANK],
}

impl<'a> Call<'a> {
    /// Encodes the tensor map of argument `arg`, with the 128-byte swizzle.
    ///
    /// # Errors
    /// [`KernelError::WrongDevice`]; [`KernelError::WrongStream`]; [`KernelError::Argument`] for
    /// fewer values than the tensor has, or an address or stride that is not a multiple of 16
    /// bytes; [`KernelError::Driver`].
    pub(crate) fn tensor_map<const RANK: usize, const STRIDES: usize>(
        &self,
        arg: &'static str,
        tensor: Boxes<'a, RANK, STRIDES>,
    ) -> Result<TensorMap, KernelError> {
        const {
            assert!(RANK == STRIDES + 1 && RANK <= MAX_RANK);
        }
        let Boxes {
            values,
            extents,
            strides,
            boxed,
        } = tensor;
        for extent in extents {
            rule(OP, arg, extent, extent > 0, Rule::AtLeast(1))?;
        }
        let last = extents[1..].iter().zip(strides);
        let last: usize = last.map(|(extent, stride)| (extent - 1) * stride).sum();
        let address = self.input(arg, values, last + extents[0])?.get();
        check_alignment("address", address as usize)?;
        let mut byte_strides = [0u64; MAX_RANK];
        for (bytes, stride) in byte_strides.iter_mut().zip(strides) {
            *bytes = (stride * size_of::<f16>()) as u64;
            check_alignment("stride in bytes", stride * size_of::<f16>())?;
        }
        let extents = extents.map(|extent| extent as u64);
        let element_strides = [1u32; MAX_RANK];
        let mut map = CUtensorMap { opaque: [0; 16] };
        // SAFETY: `map` is a local of the type that the call writes. `extents` and `boxed` have
        // RANK values, `byte_strides` at least RANK - 1 and `element_strides` at least RANK, by the
        // assertion above; the call copies them. It does not access the tensor: the address only
        // becomes a part of the map, and every element that the map includes is in the buffer that
        // `input` has checked.
        unsafe {
            sys::cuTensorMapEncodeTiled(
                &raw mut map,
                CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
                RANK as u32,
                address as *mut c_void,
                extents.as_ptr(),
                byte_strides.as_ptr(),
                boxed.as_ptr(),
                element_strides.as_ptr(),
                CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
                CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        }
        .result()
        .during(DriverCall::EncodeTensorMap)?;
        Ok(TensorMap { words: map.opaque })
    }
}

fn check_alignment(arg: &'static str, bytes: usize) -> Result<(), KernelError> {
    let aligned = bytes.is_multiple_of(ALIGNMENT);
    rule(OP, arg, bytes, aligned, Rule::MultipleOf(ALIGNMENT))
}
