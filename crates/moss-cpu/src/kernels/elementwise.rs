//! Functions of single values, written so that the compiler vectorizes loops over them for each
//! instruction set.

use super::{
    Isa,
    simd::{Kernel, Simd},
};

/// Returns `e^x` with an error of at most two units in the last place. Underflows to 0, overflows to
/// infinity, and returns NaN for NaN.
///
/// Cody-Waite range reduction to `|r| <= ln 2 / 2`, then the Taylor series to the seventh power.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4; // 355/512: products with exponents are exact
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // 1.5 * 2^23: the lowest bits of its sum with an integer are the integer
    const SHIFT: f32 = 12_582_912.0;
    let clamped = x.clamp(-104.0, 89.0); // NaN stays NaN
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
    // Not a cast, which the compiler would not vectorize because it handles NaN: `p` is NaN already.
    let n = (n + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits()) as i32;
    // Two factors, so that both are normal numbers.
    let half = n >> 1;
    let power = |n: i32| f32::from_bits(((n + 127) as u32) << 23);
    p * power(half) * power(n - half)
}

/// Returns `gelu_new(x)`, the tanh form `0.5 x (1 + tanh(u))` with `u = sqrt(2/pi) (x + 0.044715
/// x^3)`, computed as the equal `x / (1 + e^(-2u))`.
#[inline(always)]
fn gelu_one(x: f32) -> f32 {
    const TWICE_SQRT_2_OVER_PI: f32 = 1.595_769_2;
    let twice_u = TWICE_SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x);
    x / (1.0 + exp(-twice_u))
}

/// Replaces every value by its GELU.
pub(crate) fn gelu(isa: Isa, values: &mut [f32]) {
    isa.run(Gelu(values));
}

struct Gelu<'a>(&'a mut [f32]);

impl Kernel for Gelu<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
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
