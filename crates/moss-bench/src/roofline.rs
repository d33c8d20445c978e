//! Upper bounds of speed (roofline), predicted from bytes and operations.

use moss_model::{
    LoadOptions, MossConfig, WeightFormat,
    placement::{ModelBytes, Placement, Stage},
};
use moss_weights::GptqBits;

use crate::hardware::PlannedDevice;

/// Tokens of the prompt whose time is predicted.
const PROMPT: usize = 512;

/// Shares of the tensor cores' peak that prompts of 512 tokens reach, for dense and packed weights, as
/// measured on an H200. `gemm_sm90.cu` and `gemm_transposed_sm90.cu`: 15.8 x 10^12 operations in 27.6
/// to 28.3 ms (fp16) and 29.1 to 30.2 ms (int8), of 989 x 10^12 per second.
const WGMMA_SHARES: [f64; 2] = [0.57, 0.53];

/// `gemm_mma.cu`, by compute_75 code: the products of a layer take 2.32 ms (fp16) and 2.09 ms (int4),
/// of the 478 x 10^12 operations per second that its instruction reaches alone.
const MMA_SHARES: [f64; 2] = [0.42, 0.46];

/// The upper bounds of a plan.
#[derive(Debug, Clone, Copy)]
pub struct Prediction {
    /// Tokens per second of one sequence with an empty cache.
    pub rate_empty: f64,
    /// Tokens per second of one sequence with a full cache.
    pub rate_full: f64,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Share of the tensor cores' peak that is assumed.
    pub share: f64,
    /// Seconds to the first token; `None` if the peak of a stage's device is unknown.
    pub first_token: Option<f64>,
}

impl Prediction {
    /// Predicts the speed of a network with a cache of `positions`, in stages on `devices`.
    pub fn new(
        placement: &Placement,
        devices: &[PlannedDevice],
        config: &MossConfig,
        positions: usize,
        is_packed: bool,
    ) -> Self {
        let placed: Vec<_> = devices
            .iter()
            .map(|planned| planned.device.clone())
            .collect();
        let prompt = PROMPT.min(positions);
        let share = |has_wgmma: bool| {
            let shares = if has_wgmma { WGMMA_SHARES } else { MMA_SHARES };
            shares[usize::from(is_packed)]
        };
        // A stage also reads its weights once.
        let prefill = |stage: &Stage| {
            let PlannedDevice {
                device,
                tensor_flops,
                has_wgmma,
            } = devices.get(stage.device)?;
            let rate = (*tensor_flops)? * share(*has_wgmma);
            let arithmetic = stage_flops(stage, config, prompt) / rate;
            Some(arithmetic.max(stage.token_seconds(device, 0.0)))
        };
        Self {
            rate_empty: 1.0 / placement.token_seconds(&placed, 0.0),
            rate_full: 1.0 / placement.token_seconds(&placed, 1.0),
            prompt,
            share: share(devices.iter().all(|planned| planned.has_wgmma)),
            first_token: placement.stages.iter().map(prefill).sum(),
        }
    }
}

/// Returns the operations of a prompt in a stage. The head computes one token.
fn stage_flops(stage: &Stage, config: &MossConfig, prompt: usize) -> f64 {
    let head = if stage.has_head {
        2.0 * config.vocab_size as f64 * config.hidden_size as f64
    } else {
        0.0
    };
    config.block().matmul_flops(prompt) * stage.layers.len() as f64 + head
}

/// The published formats.
const FORMATS: [WeightFormat; 3] = [
    WeightFormat::F16,
    WeightFormat::Gptq(GptqBits::Eight),
    WeightFormat::Gptq(GptqBits::Four),
];

/// The roofline of decoding one token at a time: memory bandwidth.
#[derive(Debug, Clone)]
pub struct DecodeRoofline {
    /// The weights' format.
    pub format: String,
    /// Bytes of weights that a token reads.
    pub bytes: u64,
}

impl DecodeRoofline {
    /// Returns the roofline of MOSS-moon-003 in every published format.
    pub fn published() -> Vec<Self> {
        let config = MossConfig::moon_003();
        let options = LoadOptions::gpu(0, config.context_length);
        let roofline = |format: WeightFormat| {
            let parts = ModelBytes::in_format(&config, format, &options);
            Self {
                format: format.to_string(),
                bytes: parts.layers.iter().sum::<u64>() + parts.head,
            }
        };
        FORMATS.map(roofline).into()
    }

    /// Returns the upper bound of tokens per second, with an empty cache, at `bandwidth` bytes per
    /// second.
    pub fn rate(&self, bandwidth: f64) -> f64 {
        bandwidth / self.bytes as f64
    }
}

/// The bytes that a decode step of several sequences reads at least.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecodeStep {
    /// Bytes of the weights, which are read once.
    pub weights: f64,
    /// Bytes of the keys and values of all sequences.
    pub cache: f64,
}

impl DecodeStep {
    /// Returns the sum in bytes.
    pub fn total(&self) -> f64 {
        self.weights + self.cache
    }

    /// Returns the lower bound of the step's seconds at `bandwidth` bytes per second.
    pub fn seconds(&self, bandwidth: f64) -> f64 {
        self.total() / bandwidth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_needs_two_operations_per_weight_and_token() {
        let stage = Stage {
            layers: 0..34,
            has_head: true,
            ..Stage::default()
        };
        let flops = stage_flops(&stage, &MossConfig::moon_003(), 512);
        // 16.7e9 parameters without embedding and head, 0.66e9 each.
        let expected = 2.0 * (16.718e9 - 2.0 * 0.6575e9) * 512.0;
        assert!((flops / expected - 1.0).abs() < 0.01, "{flops} {expected}");
    }

    #[test]
    fn a_token_reads_the_bytes_of_the_published_models() {
        // 32.1, 17.1 and 9.3 GB. Scales and zero points are a few percent larger in the layout of
        // the kernels.
        let rooflines = DecodeRoofline::published();
        for (roofline, gigabytes) in rooflines.iter().zip([32.1, 17.1, 9.3]) {
            let found = roofline.bytes as f64 / 1e9;
            assert!(
                (found / gigabytes - 1.0).abs() < 0.04,
                "{}: {found}",
                roofline.format
            );
        }
        assert!((rooflines[0].rate(3.01e12) - 93.7).abs() < 1.0);
    }

    #[test]
    fn a_step_reads_the_weights_once_and_every_cache() {
        let cache = 835_584.0 * 512.0; // bytes per position and positions of a sequence
        let step = |sequences: f64| DecodeStep {
            weights: 9.3e9,
            cache: sequences * cache,
        };
        let difference = step(64.0).total() - step(1.0).total();
        assert!((difference - 63.0 * cache).abs() < 1.0, "{difference}");
        // 9.3 GB and 64 caches of 0.43 GB.
        assert!((step(64.0).seconds(4.25e12) - 8.63e-3).abs() < 1e-5);
    }
}
