//! Element types of dense weights and of the KV cache.

use half::{bf16, f16, slice::HalfFloatSliceExt};

use super::{
    plain::{Plain, bytes_of},
    simd::{Chunk, Simd},
};

/// The stored byte of the 8-bit integer 0.
pub(crate) const INT8_ZERO: f32 = 128.0;

/// An element type that vectors are loaded from.
pub(crate) trait Element: Plain + Send + Sync {
    /// The bytes of a vector of elements.
    type Packed<S: Simd>: Chunk<u8>;
    /// Loads elements, stored in little-endian order, and converts them to f32.
    fn load<S: Simd>(simd: S, from: &Self::Packed<S>) -> S::F;
    /// Converts one element to f32.
    fn widen(self) -> f32;
    /// Rounds every value to the nearest of this type.
    fn round(values: &mut [f32]);
}

impl Element for f32 {
    type Packed<S: Simd> = S::Packed32;
    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &S::Packed32) -> S::F {
        simd.load_f32(from)
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
    fn round(_values: &mut [f32]) {}
}

impl Element for f16 {
    type Packed<S: Simd> = S::Packed16;
    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &S::Packed16) -> S::F {
        simd.load_f16(from)
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
    fn round(values: &mut [f32]) {
        round_to::<Self>(values);
    }
}

impl Element for bf16 {
    type Packed<S: Simd> = S::Packed16;
    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &S::Packed16) -> S::F {
        simd.load_bf16(from)
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
    fn round(values: &mut [f32]) {
        round_to::<Self>(values);
    }
}

/// An 8-bit integer of the KV cache, stored with [`INT8_ZERO`] added.
impl Element for u8 {
    type Packed<S: Simd> = S::Packed8;
    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &S::Packed8) -> S::F {
        simd.add(simd.bytes(from), simd.splat(-INT8_ZERO))
    }
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from(self) - INT8_ZERO
    }
    /// Rounds nothing: the probabilities of an 8-bit cache stay f32.
    fn round(_values: &mut [f32]) {}
}

fn round_to<T: Copy + Default>(values: &mut [f32])
where
    [T]: HalfFloatSliceExt,
{
    let mut halves = [T::default(); 64];
    for values in values.chunks_mut(halves.len()) {
        let halves = &mut halves[..values.len()];
        halves.convert_from_f32_slice(values);
        halves.convert_to_f32_slice(values);
    }
}

/// Returns the whole vectors of `values`, without the remainder.
#[inline(always)]
pub(crate) fn vectors<S: Simd, E: Element>(values: &[E]) -> &[E::Packed<S>] {
    E::Packed::<S>::split(bytes_of(values))
}
