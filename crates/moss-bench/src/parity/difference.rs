//! The error measure by which results of two kernels are compared.

/// Returns the largest relative error of `found`. Each difference is divided by the expected value
/// or, if that is larger, by the root mean square of the expected values that are not zero. The
/// result is infinite if the lengths differ or a value is not a number.
pub(super) fn difference(found: &[f32], expected: &[f32]) -> f64 {
    if found.len() != expected.len() || expected.iter().chain(found).any(|value| value.is_nan()) {
        return f64::INFINITY;
    }
    let usual = expected
        .iter()
        .filter(|value| value.is_finite() && **value != 0.0);
    let (count, squares) = usual.fold((0usize, 0f64), |(count, sum), value| {
        (count + 1, sum + f64::from(*value).powi(2))
    });
    let rms = (squares / count.max(1) as f64).sqrt();
    let off = |(found, expected): (&f32, &f32)| {
        if found == expected {
            return 0.0; // infinities too
        }
        if !expected.is_finite() {
            return f64::INFINITY;
        }
        let expected = f64::from(*expected);
        (f64::from(*found) - expected).abs() / expected.abs().max(rms)
    };
    found.iter().zip(expected).map(off).fold(0f64, f64::max)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::{Device, Tensor};
    use half::f16;
    use moss_cpu::Linear;
    use moss_weights::{
        DenseDtype, DenseWeight, GptqBits, LinearWeight,
        synthetic::{Grouping, dense, halves, noise, packed, unpacked},
    };

    use super::*;

    #[test]
    fn a_difference_is_relative_to_the_value_or_to_the_root_mean_square() {
        assert_eq!(difference(&[1.0, -4.5], &[1.0, -4.0]), 0.125);
        assert_eq!(
            difference(&[0.5, 0.0, 2.0, -2.0], &[0.0, 0.0, 2.0, -2.0]),
            0.25
        );
        assert_eq!(difference(&[0.0, 0.0], &[0.0, -0.0]), 0.0);
        assert_eq!(difference(&[f32::INFINITY], &[f32::INFINITY]), 0.0);
    }

    #[test]
    fn values_that_cannot_be_compared_have_an_infinite_difference() {
        assert_eq!(difference(&[1.0], &[1.0, 1.0]), f64::INFINITY);
        assert_eq!(difference(&[f32::NAN], &[f32::NAN]), f64::INFINITY);
        assert_eq!(difference(&[1.0], &[0.0]), f64::INFINITY);
        assert_eq!(difference(&[f32::INFINITY], &[1.0]), f64::INFINITY);
        assert_eq!(
            difference(&[1.0, 2.0], &[f32::INFINITY, 2.0]),
            f64::INFINITY
        );
    }

    #[test]
    fn an_unpacked_weight_has_the_products_of_the_packed_one() {
        for bits in [GptqBits::Four, GptqBits::Eight] {
            for grouping in [
                Grouping::Runs(128),
                Grouping::Runs(1 << 20),
                Grouping::Permuted(64),
                Grouping::Uneven(96),
            ] {
                let (inputs, outputs) = (384, 70);
                let weight = packed(bits, inputs, outputs, grouping, 5);
                let dense: Vec<u8> = unpacked(&weight)
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                let dense = DenseWeight {
                    dtype: DenseDtype::F16,
                    out_features: outputs,
                    in_features: inputs,
                    data: dense.into(),
                };
                let x = Tensor::from_vec(halves(3 * inputs, 1.0, 7), (3, inputs), &Device::Cpu)
                    .unwrap();
                let product = |weight| -> Vec<f32> {
                    let linear = Linear::new(weight, None, &Device::Cpu).unwrap();
                    linear
                        .forward(&x)
                        .unwrap()
                        .flatten_all()
                        .unwrap()
                        .to_vec1()
                        .unwrap()
                };
                let off = difference(
                    &product(LinearWeight::Gptq(weight)),
                    &product(LinearWeight::Dense(dense)),
                );
                // Each weight was rounded to f16, a relative error of up to 2^-11. Sums of such
                // errors are distributed like the products; the worst of 210 is within four times
                // that.
                assert!(off < 4.0 / 2048.0, "{bits:?}, {grouping:?}: {off}");
            }
        }
    }

    #[test]
    fn halves_are_noise_rounded_to_f16() {
        let rounded: Vec<f32> = noise(1000, 4.0, 3)
            .iter()
            .map(|v| f16::from_f32(*v).to_f32())
            .collect();
        assert_eq!(halves(1000, 4.0, 3), rounded);
        assert!(
            rounded.iter().any(|value| *value > 3.9) && rounded.iter().any(|value| *value < -3.9)
        );
    }

    #[test]
    fn products_of_synthetic_values_stay_near_one() {
        let largest = |weight| {
            let linear = Linear::new(weight, None, &Device::Cpu).unwrap();
            let x = Tensor::from_vec(halves(1024, 1.0, 3), (1, 1024), &Device::Cpu).unwrap();
            let y: Vec<f32> = linear
                .forward(&x)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1()
                .unwrap();
            y.into_iter().fold(0f32, |max, value| max.max(value.abs()))
        };
        for weight in [
            LinearWeight::Dense(dense(1024, 512, 1)),
            LinearWeight::Gptq(packed(GptqBits::Four, 1024, 512, Grouping::Runs(128), 1)),
            LinearWeight::Gptq(packed(
                GptqBits::Eight,
                1024,
                512,
                Grouping::Permuted(128),
                1,
            )),
        ] {
            assert!((0.5..10.0).contains(&largest(weight)));
        }
    }
}
