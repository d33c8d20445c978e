//! Functions of single values, written so that the compiler makes vectors of them for each
//! instruction set.

use super::{
    Isa,
    simd::{Kernel, Simd},
};

/// `e^x` for f32 within two units in the last place; 0 far below, inf far above, NaN for NaN.
///
/// Cody-Waite reduction to `|r| <= ln 2 / 2`, then Taylor's series to the seventh power.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4; // 355/512: its product with an exponent is exact
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // 1.5 * 2^23: a whole number added to it stands in its lowest bits
    const WHOLE: f32 = 12_582_912.0;
    let clamped = x.clamp(-104.0, 89.0); // NaN passes
    let n = (clamped * std::f32::consts::LOG2_E).round_ties_even();
    let r = (clamped - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    // Two factors, so that neither leaves the range of normal numbers.
    // A cast would keep NaN apart from numbers, one by one; here NaN is in `p` already.
    let n = (n + WHOLE).to_bits().wrapping_sub(WHOLE.to_bits()) as i32;
    let half = n >> 1;
    let power = |n: i32| f32::from_bits(((n + 127) as u32) << 23);
    p * power(half) * power(n - half)
}

/// `gelu_new`: the tanh form, `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`, in its equal `x /
/// (1 + e^(-2u))`.
#[inline(always)]
fn gelu_one(x: f32) -> f32 {
    const TWICE_SQRT_2_OVER_PI: f32 = 1.595_769_2;
    let twice_u = TWICE_SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x);
    x / (1.0 + exp(-twice_u))
}

/// Replaces every value by its gelu.
pub(crate) fn gelu(isa: Isa, values: &mut [f32]) {
    isa.run(Gelu(values));
}

struct Gelu<'a>(&'a mut [f32]);

impl Kernel for Gelu<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for value in self.0 {
            *value = gelu_one(*value);
        }
    }
}

/// Replaces scores by `e^(score - max)` and returns their sum.
#[inline(always)]
pub(crate) fn exp_of_difference(scores: &mut [f32], max: f32) -> f32 {
    for score in scores.iter_mut() {
        *score = exp(*score - max);
    }
    scores.iter().sum()
}
