//! Made-up weights and inputs for comparing kernels, the same on every machine, and how two results
//! are compared: all of it without a GPU.

use bytes::Bytes;
use half::f16;
use rayon::prelude::*;

use crate::{DenseDtype, DenseWeight, GptqBits, GptqWeight, GroupIndex};

/// Values of one task.
const RUN: usize = 1 << 16;

/// Bits by their number alone (splitmix64, by Sebastiano Vigna), so that threads can share them
/// out.
fn bits(index: usize, seed: u32) -> u32 {
    let mut z = (index as u64 + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(u64::from(seed).wrapping_mul(0xd134_2543_de82_ef95));
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ z >> 31) as u32
}

/// A value from -1 to 1.
fn unit(index: usize, seed: u32) -> f32 {
    bits(index, seed) as i32 as f32 / 2_147_483_648.0
}

/// Values from `-scale` to `scale`.
pub(crate) fn noise(len: usize, scale: f32, seed: u32) -> Vec<f32> {
    (0..len)
        .into_par_iter()
        .with_min_len(RUN)
        .map(|index| scale * unit(index, seed))
        .collect()
}

/// As [`noise`], of values that f16 holds.
pub(crate) fn halves(len: usize, scale: f32, seed: u32) -> Vec<f32> {
    let rounded = |index| f16::from_f32(scale * unit(index, seed)).to_f32();
    (0..len)
        .into_par_iter()
        .with_min_len(RUN)
        .map(rounded)
        .collect()
}

/// A dense f16 weight whose products with values from -1 to 1 stay near 1.
pub(crate) fn dense(in_features: usize, out_features: usize, seed: u32) -> DenseWeight {
    let spread = (3.0 / in_features as f32).sqrt();
    let mut data = vec![0u8; 2 * in_features * out_features];
    data.par_chunks_mut(2 * RUN)
        .enumerate()
        .for_each(|(run, bytes)| {
            for (at, bytes) in bytes.chunks_exact_mut(2).enumerate() {
                bytes.copy_from_slice(
                    &f16::from_f32(spread * unit(run * RUN + at, seed)).to_le_bytes(),
                );
            }
        });
    DenseWeight {
        dtype: DenseDtype::F16,
        out_features,
        in_features,
        data: Bytes::from(data),
    }
}

/// Which group the inputs of a packed weight belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// Runs of so many inputs.
    Runs(usize),
    /// Act-order: groups of so many inputs, in an order that the seed picks.
    Permuted(usize),
    /// Act-order: the first group has more than its share, so that groups end anywhere.
    Uneven(usize),
}

impl Grouping {
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Runs(size) | Self::Permuted(size) | Self::Uneven(size) => size,
        }
    }

    fn index(self, in_features: usize, seed: u32) -> GroupIndex {
        // A prime that divides no width in use: every input gets a place of its own.
        let prime = [7919, 104_729, 15_485_863][seed as usize % 3];
        let groups = in_features.div_ceil(self.size());
        match self {
            Self::Runs(_) => GroupIndex::Sequential,
            Self::Permuted(size) => {
                let group =
                    |input: usize| ((input * prime + seed as usize) % in_features / size) as u32;
                GroupIndex::Permuted((0..in_features).map(group).collect())
            }
            Self::Uneven(_) => {
                let group = |input: usize| {
                    if input.is_multiple_of(5) {
                        0
                    } else {
                        (input * prime % groups) as u32
                    }
                };
                GroupIndex::Permuted((0..in_features).map(group).collect())
            }
        }
    }
}

/// A packed weight in the published layout: any integers, any zero points (the stored one may stand
/// for `2^bits`), scales that keep products with values from -1 to 1 near 1.
pub(crate) fn packed(
    width: GptqBits,
    in_features: usize,
    out_features: usize,
    grouping: Grouping,
    seed: u32,
) -> GptqWeight {
    let per_word = width.per_word();
    let groups = in_features.div_ceil(grouping.size());
    let words = |len: usize, seed: u32| {
        let mut data = vec![0u8; 4 * len];
        data.par_chunks_mut(4 * RUN)
            .enumerate()
            .for_each(|(run, bytes)| {
                for (at, bytes) in bytes.chunks_exact_mut(4).enumerate() {
                    bytes.copy_from_slice(&bits(run * RUN + at, seed).to_le_bytes());
                }
            });
        Bytes::from(data)
    };
    // The difference of two uniform integers has a variance of levels^2 / 6; the inputs have one of
    // 1/3.
    let middle = (18.0 / in_features as f32).sqrt() / (1u32 << width.bits()) as f32;
    let scale = |index| f16::from_f32(middle * (1.0 + 0.5 * unit(index, seed ^ 0x5CA1E)));
    GptqWeight {
        bits: width,
        group_size: grouping.size(),
        in_features,
        out_features,
        qweight: words(in_features / per_word * out_features, seed),
        qzeros: words(groups * out_features.div_ceil(per_word), seed ^ 0x2E05),
        scales: (0..groups * out_features)
            .flat_map(|index| scale(index).to_le_bytes())
            .collect::<Vec<u8>>()
            .into(),
        groups: grouping.index(in_features, seed),
    }
}

/// What a packed weight stands for, `[out_features, in_features]`: `(q - zero) * scale`, rounded to
/// f16 once.
pub(crate) fn unpacked(weight: &GptqWeight) -> Vec<f16> {
    let (per_word, width) = (weight.bits.per_word(), weight.bits.bits());
    let (inputs, outputs) = (weight.in_features, weight.out_features);
    let mask = u32::MAX >> (32 - width);
    let word = |bytes: &[u8], index: usize| {
        let at = &bytes[4 * index..][..4];
        u32::from_le_bytes([at[0], at[1], at[2], at[3]])
    };
    let zero_words = weight.zero_words();
    let mut values = vec![f16::ZERO; inputs * outputs];
    values
        .par_chunks_exact_mut(inputs)
        .enumerate()
        .for_each(|(output, row)| {
            for (input, value) in row.iter_mut().enumerate() {
                let group = match &weight.groups {
                    GroupIndex::Sequential => input / weight.group_size,
                    GroupIndex::Permuted(groups) => groups[input] as usize,
                };
                let q = word(&weight.qweight, input / per_word * outputs + output)
                    >> (input % per_word * width)
                    & mask;
                let stored = word(&weight.qzeros, group * zero_words + output / per_word)
                    >> (output % per_word * width)
                    & mask;
                let at = &weight.scales[2 * (group * outputs + output)..][..2];
                let scale = f16::from_le_bytes([at[0], at[1]]).to_f32();
                *value = f16::from_f32((q as f32 - (stored + 1) as f32) * scale);
            }
        });
    values
}

/// The largest difference of two results, each as a part of the expected value or, where that is
/// more, of the root mean square of those that are not zero; infinite where they cannot be
/// compared: other lengths, or a value that is not a number.
pub(crate) fn difference(found: &[f32], expected: &[f32]) -> f64 {
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
    let off = |(found, expected): (&f32, &f32)| match found == expected {
        true => 0.0, // infinities too
        false if !expected.is_finite() => f64::INFINITY,
        false => {
            let expected = f64::from(*expected);
            (f64::from(*found) - expected).abs() / expected.abs().max(rms)
        }
    };
    found.iter().zip(expected).map(off).fold(0f64, f64::max)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::{Linear, LinearWeight};

    #[test]
    fn a_difference_is_a_part_of_the_value_or_of_what_is_usual() {
        assert_eq!(difference(&[1.0, -4.5], &[1.0, -4.0]), 0.125);
        assert_eq!(
            difference(&[0.5, 0.0, 2.0, -2.0], &[0.0, 0.0, 2.0, -2.0]),
            0.25
        );
        assert_eq!(difference(&[0.0, 0.0], &[0.0, -0.0]), 0.0);
        assert_eq!(difference(&[f32::INFINITY], &[f32::INFINITY]), 0.0);
    }

    #[test]
    fn what_cannot_be_compared_differs_without_bound() {
        assert_eq!(difference(&[1.0], &[1.0, 1.0]), f64::INFINITY);
        assert_eq!(difference(&[f32::NAN], &[f32::NAN]), f64::INFINITY);
        assert_eq!(difference(&[1.0], &[0.0]), f64::INFINITY);
        assert_eq!(difference(&[f32::INFINITY], &[1.0]), f64::INFINITY);
        assert_eq!(
            difference(&[1.0, 2.0], &[f32::INFINITY, 2.0]),
            f64::INFINITY
        );
    }

    /// Made-up weights are valid, and what they stand for is what the CPU's kernels compute with.
    #[test]
    fn an_unpacked_weight_gives_the_products_of_the_packed_one() {
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
                // Each weight was rounded to f16: off by up to 2^-11 of itself, and sums of such
                // errors spread like the products, four times as far in the worst of 210.
                assert!(off < 4.0 / 2048.0, "{bits:?}, {grouping:?}: {off}");
            }
        }
    }

    #[test]
    fn halves_are_the_noise_that_f16_holds() {
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
    fn products_of_made_up_values_stay_near_one() {
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
