//! Layers on one NVIDIA GPU: a few launches per layer, over buffers that are allocated before the
//! first micro-batch.

mod block;
mod decode_graph;
mod head;
mod input;
mod loader;
mod non_finite;
mod parallel_load;
mod stage;
mod stored_blocks;
mod workspace;

use moss_cuda::Gpu;

use crate::{
    ModelError, MossConfig, NetworkRule, decode_rows::max_head_runs, devices,
    micro_batch::MAX_BATCH_TOKENS, placement::Device,
};

pub(crate) use stage::GpuStage;

/// Maximum number of layers. A report of non-finite values names one of 256: a layer, or one of the
/// runs of lm_head over the tokens of a micro-batch.
const MAX_LAYERS: usize = 256 - max_head_runs(MAX_BATCH_TOKENS);

/// Maximum lanes of a head that attention has kernels for.
const MAX_HEAD_DIM: usize = 256;

/// Checks for networks that the kernels cannot compute. The epilogues of prefill read and write pairs
/// of outputs; qkv_proj, out_proj and fc_out have as many as whole heads.
fn check_network(config: &MossConfig) -> Result<(), ModelError> {
    let MossConfig {
        num_layers,
        inner_size,
        head_dim,
        ..
    } = *config;
    let is_even = |n: usize| n.is_multiple_of(2);
    let (key, found, expected) = if num_layers > MAX_LAYERS {
        let expected = NetworkRule::AtMostOnGpu(MAX_LAYERS);
        ("n_layer", num_layers, expected)
    } else if !is_even(inner_size) {
        ("n_inner", inner_size, NetworkRule::EvenOnGpu)
    } else if !is_even(head_dim) || head_dim > MAX_HEAD_DIM {
        let expected = NetworkRule::EvenAtMostOnGpu(MAX_HEAD_DIM);
        ("n_embd / n_head", head_dim, expected)
    } else {
        return Ok(());
    };
    let found = found.to_string();
    Err(ModelError::Config {
        key,
        found,
        expected,
    })
}

/// An open GPU, before the stage is loaded.
#[derive(Debug)]
pub(crate) struct OpenGpu {
    gpu: Gpu,
    free: u64,
}

impl OpenGpu {
    pub(crate) fn new(ordinal: usize, newest_code: Option<u32>) -> Result<Self, ModelError> {
        let gpu = Gpu::open(ordinal, newest_code).map_err(ModelError::Gpu)?;
        let free = gpu.free_memory().map_err(ModelError::Gpu)?;
        Ok(Self { gpu, free })
    }

    /// Describes the GPU for a placement.
    pub(crate) fn describe(&self) -> Device {
        devices::describe(self.gpu.info(), self.free)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn networks_that_the_kernels_cannot_compute_are_rejected_with_a_hint() {
        let moon = MossConfig::moon_003();
        assert!(check_network(&moon).is_ok());
        for (key, config) in [
            (
                "n_layer",
                MossConfig {
                    num_layers: MAX_LAYERS + 1,
                    ..moon.clone()
                },
            ),
            (
                "n_inner",
                MossConfig {
                    inner_size: 24_575,
                    ..moon.clone()
                },
            ),
            (
                "n_embd / n_head",
                MossConfig {
                    head_dim: 33,
                    ..moon.clone()
                },
            ),
            (
                "n_embd / n_head",
                MossConfig {
                    head_dim: 258,
                    ..moon
                },
            ),
        ] {
            let error = check_network(&config).unwrap_err();
            assert!(matches!(&error, ModelError::Config { key: found, .. } if *found == key));
            assert!(error.hint().unwrap().contains("--gpu cpu"), "{error}");
        }
    }
}
