//! What a token costs at least: the bytes that it reads, by the bandwidth of where they lie.

use moss::{
    model::{CacheShape, ComputeDtype, MossConfig, WeightFormat, placement::ModelBytes},
    weights::GptqBits,
};

const FORMATS: [WeightFormat; 3] = [
    WeightFormat::F16,
    WeightFormat::Gptq(GptqBits::Eight),
    WeightFormat::Gptq(GptqBits::Four),
];

/// One published format.
pub(super) struct Ceiling {
    pub(super) format: String,
    /// Bytes of weights that a token reads.
    pub(super) bytes: u64,
}

impl Ceiling {
    /// Tokens a second at most, with an empty cache, where `bandwidth` bytes a second are read.
    pub(super) fn rate(&self, bandwidth: f64) -> f64 {
        bandwidth / self.bytes as f64
    }
}

/// MOSS-moon-003 in every published format.
pub(super) fn ceilings() -> Vec<Ceiling> {
    let config = MossConfig::moon_003();
    let cache = CacheShape::for_positions(config.context_length);
    let ceiling = |format: WeightFormat| {
        let parts = ModelBytes::in_format(&config, format, cache, ComputeDtype::F16);
        Ceiling {
            format: format.to_string(),
            bytes: parts.layers.iter().sum::<u64>() + parts.head,
        }
    };
    FORMATS.map(ceiling).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_the_published_models_reads_what_their_sizes_say() {
        // 32.1, 17.1 and 9.3 GB; scales and zero points take a few hundredths more as the kernels
        // keep them.
        for (ceiling, gigabytes) in ceilings().iter().zip([32.1, 17.1, 9.3]) {
            let found = ceiling.bytes as f64 / 1e9;
            assert!(
                (found / gigabytes - 1.0).abs() < 0.04,
                "{}: {found}",
                ceiling.format
            );
        }
        assert!((ceilings()[0].rate(3.01e12) - 93.7).abs() < 1.0);
    }
}
