//! Synthetic weights and inputs for comparing and timing kernels: pseudo-random, and the same on
//! every machine.

use bytes::Bytes;
use half::f16;
use rayon::prelude::*;

use crate::{DenseDtype, DenseWeight, GptqBits, GptqWeight, GroupIndex};

/// Values of one task.
const RUN: usize = 1 << 16;

/// Returns pseudo-random bits that depend on `index` and `seed` alone (splitmix64, by Sebastiano
/// Vigna), so that threads can compute them independently.
fn bits(index: usize, seed: u32) -> u32 {
    let mut z = (index as u64 + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(u64::from(seed).wrapping_mul(0xd134_2543_de82_ef95));
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ z >> 31) as u32
}

/// Returns a value from -1 to 1.
fn unit(index: usize, seed: u32) -> f32 {
    bits(index, seed) as i32 as f32 / 2_147_483_648.0
}

/// Returns values from `-scale` to `scale`.
pub fn noise(len: usize, scale: f32, seed: u32) -> Vec<f32> {
    (0..len)
        .into_par_iter()
        .with_min_len(RUN)
        .map(|index| scale * unit(index, seed))
        .collect()
}

/// Returns the values of [`noise`], rounded to f16.
pub fn halves(len: usize, scale: f32, seed: u32) -> Vec<f32> {
    let rounded = |index| f16::from_f32(scale * unit(index, seed)).to_f32();
    (0..len)
        .into_par_iter()
        .with_min_len(RUN)
        .map(rounded)
        .collect()
}

/// Returns a dense f16 weight whose products with values from -1 to 1 stay near 1.
pub fn dense(in_features: usize, out_features: usize, seed: u32) -> DenseWeight {
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

/// Assignment of a packed weight's inputs to groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// Groups of this many consecutive inputs.
    Runs(usize),
    /// Act-order: groups of this many inputs, in an order that depends on the seed.
    Permuted(usize),
    /// Act-order: the first group is larger, so that groups end at any input.
    Uneven(usize),
}

impl Grouping {
    /// Returns the nominal size of a group.
    pub fn size(self) -> usize {
        match self {
            Self::Runs(size) | Self::Permuted(size) | Self::Uneven(size) => size,
        }
    }

    fn index(self, in_features: usize, seed: u32) -> GroupIndex {
        // A prime that divides no width in use: multiplication permutes the inputs.
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

/// Returns a packed weight in the published layout: any integers, any zero points (the stored one
/// may mean `2^bits`), scales that keep products with values from -1 to 1 near 1.
pub fn packed(
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

/// Dequantizes a packed weight, `[out_features, in_features]`: `(q - zero) * scale`, rounded to f16
/// once.
pub fn unpacked(weight: &GptqWeight) -> Vec<f16> {
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
