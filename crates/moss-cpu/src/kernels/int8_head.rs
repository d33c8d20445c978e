//! Rounding of keys and values to 8 bits.

use half::f16;

use super::{
    Isa,
    element::INT8_ZERO,
    simd::{Kernel, Simd},
};

/// The largest 8-bit integer.
const MAX: f32 = 127.0;

/// The lowest byte of the sum of 1.5 * 2^23 + 128 and a number is the nearest integer, plus
/// [`INT8_ZERO`].
const SHIFT: f32 = 12_582_912.0 + INT8_ZERO;

/// Rounds the key or value of one position and head to 8-bit integers, stored as `out`, and returns
/// their scale: the largest magnitude divided by 127, rounded up to f16.
///
/// An infinity, a NaN, or a magnitude above 127 times the largest f16 makes the scale infinite or
/// NaN and all integers 0, so that every product with them is NaN. `kernels/kv_quantize.cu` computes
/// the same bits.
pub(crate) fn quantize_head(isa: Isa, values: &[f32], out: &mut [u8]) -> f16 {
    // As integers, the bits of magnitudes have the order of the magnitudes, and NaN is the largest.
    let largest = values.iter().map(|value| value.to_bits() & (u32::MAX >> 1));
    let scale = round_up(f32::from_bits(largest.max().unwrap_or(0)) / MAX);
    let unit = 1.0 / scale.to_f32();
    if unit > 0.0 && unit.is_finite() {
        isa.run(Quantize { values, unit, out });
    } else {
        out.fill(INT8_ZERO as u8);
    }
    scale
}

/// Returns the smallest f16 that is not below `value`, which is not negative.
fn round_up(value: f32) -> f16 {
    let nearest = f16::from_f32(value);
    if nearest.to_f32() < value {
        f16::from_bits(nearest.to_bits() + 1)
    } else {
        nearest
    }
}

struct Quantize<'a> {
    values: &'a [f32],
    unit: f32,
    out: &'a mut [u8],
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (out, value) in self.out.iter_mut().zip(self.values) {
            let number = (value * self.unit).clamp(-MAX, MAX);
            *out = (number + SHIFT).to_bits() as u8;
        }
    }
}
