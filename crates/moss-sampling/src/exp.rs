//! The exponential function of the softmax, the same bits on every machine.
//!
//! The `exp` of a C library has other bits on another platform, and GPUs have their own. A random
//! number close to a border between two tokens would then select different ones. This function
//! consists of IEEE operations in a fixed order, which `kernels/sampling.cu` repeats.

/// `ln 2` in two parts. The upper one has 32 bits, so its product with an exponent is exact.
const LN_2: [f64; 2] = [
    f64::from_bits(0x3fe6_2e42_fee0_0000),
    f64::from_bits(0x3dea_39ef_3579_3c76),
];

/// Coefficients of `x coth(x / 2) = 2 + x^2 / 6 - x^4 / 360 + …`. The next term changes no bit for
/// `|x| <= ln 2 / 2`.
const COTH: [f64; 7] = [
    1.0 / 6.0,
    -1.0 / 360.0,
    1.0 / 15_120.0,
    -1.0 / 604_800.0,
    1.0 / 23_950_080.0,
    -691.0 / 653_837_184_000.0,
    1.0 / 37_362_124_800.0,
];

/// Adding it to a number of less than 2^51 rounds the number to an integer, which is in the lowest
/// bits of the sum.
const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52

/// From here on down, the result is 0.
const LOWEST: f64 = -746.0;

/// Returns `exp(x)` for `x <= 0`, with an error below 1 unit in the last place. Results may be
/// subnormal.
///
/// It has neither branches nor conversions, so that the compiler vectorizes loops.
#[inline]
pub(crate) fn exp(x: f64) -> f64 {
    let x = x.max(LOWEST);
    // x = exponent * ln 2 + r
    let exponent = (x * std::f64::consts::LOG2_E + ROUND) - ROUND;
    let [upper, lower] = LN_2;
    let high = x - exponent * upper;
    let low = exponent * lower;
    let r = high - low;
    let square = r * r;
    let series = COTH
        .iter()
        .rev()
        .fold(0.0, |sum, coefficient| coefficient + square * sum);
    // exp(r) = 1 + 2 r / (r coth(r / 2) - r), and 1 + r is taken out of the quotient.
    let rest = r - square * series;
    let mantissa = 1.0 + (r * rest / (2.0 - rest) - low + high);
    // In two steps, because 2^exponent may be subnormal; only the second one rounds.
    let half = (exponent * 0.5 + ROUND) - ROUND;
    mantissa * power_of_two(half) * power_of_two(exponent - half)
}

/// Returns `2^exponent`, a normal number, for an integer.
#[inline]
fn power_of_two(exponent: f64) -> f64 {
    f64::from_bits(((exponent + ROUND).to_bits() + 1023) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns differences of f32 scores: close to 0, of usual size, and large.
    fn arguments() -> impl Iterator<Item = f64> {
        [1e-6f32, 0.3, 1.0, 40.0, 750.0]
            .into_iter()
            .flat_map(|scale| (0..20_000).map(move |i| scale * (i as f32 / 20_000.0)))
            .map(|x| -f64::from(x))
    }

    #[test]
    fn it_is_within_a_unit_in_the_last_place_of_the_standard_library() {
        for x in arguments() {
            let difference = exp(x).to_bits().abs_diff(x.exp().to_bits());
            assert!(difference <= 1, "exp({x}) is off by {difference}");
        }
    }

    #[test]
    fn most_results_are_those_of_the_standard_library() {
        let equal = arguments().filter(|x| exp(*x) == x.exp()).count();
        assert!(equal * 10 > arguments().count() * 8, "{equal}");
    }

    #[test]
    fn it_has_these_bits_on_every_machine() {
        let golden: [(f64, u64); 9] = [
            (0.0, 0x3ff0_0000_0000_0000),
            (-0.0, 0x3ff0_0000_0000_0000),
            (-f64::MIN_POSITIVE, 0x3ff0_0000_0000_0000),
            (-0.5, 0x3fe3_68b2_fc6f_960a),
            (-1.0, 0x3fd7_8b56_362c_ef38),
            (-708.5, 0x000e_6cf6_d088_97ac),
            (-745.0, 1),
            (-746.0, 0),
            (f64::NEG_INFINITY, 0),
        ];
        for (x, bits) in golden {
            assert_eq!(exp(x).to_bits(), bits, "exp({x})");
        }
    }
}
