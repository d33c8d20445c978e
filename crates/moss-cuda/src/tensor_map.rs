//! Tensor maps: the descriptors by which kernels of sm_90 copy boxes of a tensor to shared memory
//! (bulk tensor copies, TMA).

use std::ffi::c_void;

use cudarc::driver::{
    DeviceRepr,
    sys::{
        self, CUtensorMap, CUtensorMapDataType, CUtensorMapFloatOOBfill, CUtensorMapInterleave,
        CUtensorMapL2promotion, CUtensorMapSwizzle,
    },
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

/// The values of a tensor.
pub(crate) trait Element: DeviceRepr + 'static {
    const TYPE: CUtensorMapDataType;
    const SWIZZLE: CUtensorMapSwizzle;
}

/// Matrices for `wgmma`.
impl Element for f16 {
    const TYPE: CUtensorMapDataType = CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    const SWIZZLE: CUtensorMapSwizzle = CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B;
}

/// Packed weights and their tables.
impl Element for u32 {
    const TYPE: CUtensorMapDataType = CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_UINT32;
    const SWIZZLE: CUtensorMapSwizzle = CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_NONE;
}

/// A tensor and the boxes that are copied from it. Dimension 0 is contiguous.
pub(crate) struct Boxes<'a, T, const RANK: usize, const STRIDES: usize> {
    pub(crate) values: View<'a, T>,
    /// Extent of each dimension.
    pub(crate) extents: [usize; RANK],
    /// Values from one index to the next, of the dimensions after dimension 0.
    pub(crate) strides: [usize; STRIDES],
    /// Extent of a box in each dimension. Elements outside the tensor are zero.
    pub(crate) boxed: [u32; RANK],
}

impl<'a> Call<'a> {
    /// Encodes the tensor map of argument `arg`.
    ///
    /// # Errors
    /// [`KernelError::WrongDevice`]; [`KernelError::WrongStream`]; [`KernelError::Argument`] for
    /// fewer values than the tensor has, or an address or stride that is not a multiple of 16
    /// bytes; [`KernelError::Driver`].
    pub(crate) fn tensor_map<T: Element, const RANK: usize, const STRIDES: usize>(
        &self,
        arg: &'static str,
        tensor: Boxes<'a, T, RANK, STRIDES>,
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
            *bytes = (stride * size_of::<T>()) as u64;
            check_alignment("stride in bytes", stride * size_of::<T>())?;
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
                T::TYPE,
                RANK as u32,
                address as *mut c_void,
                extents.as_ptr(),
                byte_strides.as_ptr(),
                boxed.as_ptr(),
                element_strides.as_ptr(),
                CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                T::SWIZZLE,
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
