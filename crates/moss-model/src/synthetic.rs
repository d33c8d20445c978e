//! Synthetic weights: random numbers of the true shapes and sizes, to measure speed and memory
//! without a checkpoint.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::OnceLock,
};

use bytes::Bytes;
use half::f16;
use moss_weights::{
    DenseDtype, DenseWeight, GptqBits, GptqWeight, GroupIndex, LinearShape, LinearWeight,
    PUBLISHED_GROUP_SIZE,
};
use rand::{Rng as _, SeedableRng, rngs::SmallRng};
use rayon::prelude::*;

use crate::{LinearParts, ModelError, MossConfig, NetworkRule, WeightFormat, WeightSource, names};

/// Bytes of random bits that one task writes.
const FILL_BYTES: usize = 1 << 20;

/// A [`WeightSource`] of random numbers, determined by name and shape.
#[derive(Debug)]
pub struct RandomWeights {
    config: MossConfig,
    format: WeightFormat,
    /// Both the embedding and lm_head: a second matrix of 1.3 GB would not change the measurements.
    /// Generated on first use.
    vocabulary: OnceLock<DenseWeight>,
}

impl RandomWeights {
    /// Returns weights for a network of these sizes, scaled so that the residual stream stays near 1.
    pub fn new(config: MossConfig, format: WeightFormat) -> Self {
        Self {
            config,
            format,
            vocabulary: OnceLock::new(),
        }
    }

    fn vocabulary(&self) -> DenseWeight {
        let make = || {
            dense(
                names::LM_HEAD,
                self.config.vocab_size,
                self.config.hidden_size,
            )
        };
        self.vocabulary.get_or_init(make).clone()
    }

    /// Returns the bytes of a linear layer, and those of its scales.
    fn linear_bytes(&self, shape: LinearShape) -> (u64, u64) {
        let (in_features, out_features) = (shape.in_features, shape.out_features);
        let scales = product([out_features, in_features.div_ceil(PUBLISHED_GROUP_SIZE)]);
        let weights = product([in_features, out_features]);
        match self.format {
            WeightFormat::F16 => (weights.saturating_mul(2), 0),
            WeightFormat::Gptq(bits) => {
                let bits = bits.bits() as u64;
                let of_scales = scales.saturating_mul(2);
                let packed = weights.saturating_mul(bits) / 8;
                (
                    packed
                        .saturating_add(of_scales)
                        .saturating_add(scales.saturating_mul(bits) / 8),
                    of_scales,
                )
            }
        }
    }
}

impl WeightSource for RandomWeights {
    fn config(&self) -> Result<MossConfig, ModelError> {
        Ok(self.config.clone())
    }

    fn linear(&self, name: &str, shape: LinearShape) -> Result<LinearParts, ModelError> {
        let LinearShape {
            in_features,
            out_features,
            has_bias,
        } = shape;
        let weight = match self.format {
            _ if name == names::LM_HEAD => LinearWeight::Dense(self.vocabulary()),
            WeightFormat::F16 => LinearWeight::Dense(dense(name, out_features, in_features)),
            WeightFormat::Gptq(bits) => {
                LinearWeight::Gptq(gptq(name, bits, out_features, in_features))
            }
        };
        Ok(LinearParts {
            weight,
            bias: has_bias.then(|| vec![0.01; out_features]),
        })
    }

    fn matrix(
        &self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Option<DenseWeight>, ModelError> {
        let is_vocabulary = (rows, cols) == (self.config.vocab_size, self.config.hidden_size);
        Ok(Some(if is_vocabulary {
            self.vocabulary()
        } else {
            dense(name, rows, cols)
        }))
    }

    fn vector(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>, ModelError> {
        let value = if name.ends_with("weight") { 1.0 } else { 0.01 };
        Ok(Some(vec![value; len]))
    }

    fn release(&self, _name: &str) {}

    fn stored_bytes(&self, prefix: &str, scales: bool) -> u64 {
        let MossConfig {
            hidden_size,
            vocab_size,
            ..
        } = self.config;
        let vocabulary = product([2, vocab_size, hidden_size]);
        if prefix == names::EMBEDDING || prefix == names::LM_HEAD {
            return if scales { 0 } else { vocabulary };
        }
        if prefix.starts_with(names::FINAL_NORM) {
            return if scales {
                0
            } else {
                (hidden_size as u64).saturating_mul(4)
            }; // f16 weight and bias
        }
        let linears = self.config.block().linears();
        let linears = linears.map(|(_, shape)| self.linear_bytes(shape));
        let counted = linears
            .iter()
            .map(|(bytes, of_scales)| if scales { *of_scales } else { *bytes });
        counted.fold(0, u64::saturating_add)
    }

    fn synthetic_format(&self) -> Option<WeightFormat> {
        Some(self.format)
    }

    fn missing(&self, name: &str) -> ModelError {
        ModelError::Config {
            key: "n_layer",
            found: name.to_owned(),
            expected: NetworkRule::Synthetic,
        }
    }
}

/// Returns f16 values of both signs with a standard deviation of about `1 / sqrt(in_features)`:
/// random sign and mantissa with one exponent.
fn dense(name: &str, out_features: usize, in_features: usize) -> DenseWeight {
    let magnitude = f16::from_f32(0.66 / (in_features as f32).sqrt()).to_bits() & 0x7C00;
    let mut data = random_bytes(name, out_features * in_features * 2);
    data.par_chunks_exact_mut(2)
        .with_min_len(FILL_BYTES)
        .for_each(|pair| {
            let bits = u16::from_le_bytes([pair[0], pair[1]]) & 0x83FF | magnitude;
            pair.copy_from_slice(&bits.to_le_bytes());
        });
    DenseWeight {
        dtype: DenseDtype::F16,
        out_features,
        in_features,
        data: Bytes::from(data),
    }
}

fn gptq(name: &str, bits: GptqBits, out_features: usize, in_features: usize) -> GptqWeight {
    let width = match bits {
        GptqBits::Four => 4,
        GptqBits::Eight => 8,
    };
    let groups = in_features.div_ceil(PUBLISHED_GROUP_SIZE);
    // The standard deviation of uniform fields is 2^bits / sqrt(12).
    let scale = 12f32.sqrt() / (1 << width) as f32 / (in_features as f32).sqrt();
    // The stored zero point is the middle of the range minus one.
    let zero = if width == 4 { 0x77 } else { 0x7F };
    GptqWeight {
        bits,
        group_size: PUBLISHED_GROUP_SIZE,
        in_features,
        out_features,
        qweight: Bytes::from(random_bytes(name, in_features * out_features * width / 8)),
        qzeros: Bytes::from(vec![zero; groups * out_features * width / 8]),
        scales: Bytes::from(
            f16::from_f32(scale)
                .to_le_bytes()
                .repeat(groups * out_features),
        ),
        groups: GroupIndex::Sequential,
    }
}

/// Computes the product of `extents`, saturated at `u64::MAX`.
pub(crate) fn product<const N: usize>(extents: [usize; N]) -> u64 {
    extents.iter().fold(1, |product: u64, extent| {
        product.saturating_mul(*extent as u64)
    })
}

fn random_bytes(name: &str, len: usize) -> Vec<u8> {
    let mut data = vec![0u8; len];
    data.par_chunks_mut(FILL_BYTES)
        .enumerate()
        .for_each(|(chunk, bytes)| {
            let mut hasher = DefaultHasher::new();
            (name, chunk).hash(&mut hasher);
            SmallRng::seed_from_u64(hasher.finish()).fill(bytes);
        });
    data
}
