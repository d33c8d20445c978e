//! Tolerances of parity cases, with their reasons.

/// The largest relative error that a case allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    pub(super) allowed: f64,
    pub(super) reason: &'static str,
}

impl Tolerance {
    /// No difference: values are copied, or computed by the same operations.
    pub(super) const NONE: Self = Self {
        allowed: 0.0,
        reason: "the same operations in the same order",
    };

    /// One rounding to f16 of values that are exact to f32.
    pub(super) const HALF: Self = Self {
        allowed: 1.05 * HALF_STEP,
        reason: "rounded to f16 once: half a step of 2^-10",
    };

    /// Sums over `inputs` on tensor cores, which truncate after each step of 8 or 16 inputs.
    pub(super) fn sums(inputs: usize) -> Self {
        let steps = 64.0 + 8.0 * inputs.div_ceil(64) as f64;
        Self {
            allowed: steps * f64::from(f32::EPSILON),
            reason: "f32 sums in another order, truncated after each step of 8 or 16 inputs: 2^-23 times (64 + inputs / 8)",
        }
    }

    /// As [`Tolerance::sums`], then rounded to f16.
    pub(super) fn sums_to_half(inputs: usize) -> Self {
        Self {
            allowed: Self::sums(inputs).allowed + Self::HALF.allowed,
            reason: "f32 sums in another order, 2^-23 times (64 + inputs / 8); then rounded to f16, half a step of 2^-10",
        }
    }
}

/// Half the distance of two adjacent f16 values, relative to them.
pub(super) const HALF_STEP: f64 = 1.0 / 2048.0;
