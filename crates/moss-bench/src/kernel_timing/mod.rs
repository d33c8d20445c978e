//! Times of the kernels of a decode step and of a prompt, alone and together, at the sizes of the
//! published model.

#[cfg(feature = "cuda")]
mod baseline;
#[cfg(feature = "cuda")]
mod measure;
#[cfg(feature = "cuda")]
mod median;
#[cfg(feature = "cuda")]
mod network;
#[cfg(feature = "cuda")]
mod parts;
mod times;
#[cfg(any(feature = "cuda", test))]
mod tokens;

use moss_weights::{GptqBits, KernelError};

use crate::concurrency::cache_positions;

pub use times::{KernelTime, KernelTimes, PromptTimes, StepTimes};

/// The options of a timing.
#[derive(Debug, Clone)]
pub struct TimingOptions {
    /// Width of packed weights; `None` for f16.
    pub bits: Option<GptqBits>,
    /// Number of layers, each with separate weights and cache.
    pub layers: usize,
    /// Positions of each sequence of a decode step, including the new token.
    pub context: usize,
    /// Sequences of further decode steps, which are measured one after the other.
    pub rows: Vec<usize>,
    /// Tokens of each prompt, which are measured one after the other.
    pub prompts: Vec<usize>,
}

impl TimingOptions {
    /// Returns the positions that the cache of a layer holds: those of all sequences of the largest
    /// step, in whole blocks, or of the longest prompt.
    pub fn positions(&self) -> usize {
        let most = self.rows.iter().max().copied().unwrap_or(1);
        let longest = self.prompts.iter().max().copied().unwrap_or(0);
        cache_positions(most, self.context).max(longest)
    }
}

/// The times, and the memory bandwidth measured in the same run.
#[derive(Debug, Clone)]
pub struct TimingReport {
    /// The GPU and the code it runs.
    pub device: String,
    /// Bytes per second of a copy within the GPU.
    pub bandwidth: f64,
    /// A decode step of one sequence.
    pub step: KernelTimes,
    /// Decode steps of several sequences, in the order of the options.
    pub steps: Vec<StepTimes>,
    /// The prompts, in the order of the options.
    pub prompts: Vec<PromptTimes>,
}

/// Times the kernels on one GPU. `newest_code` is the newest architecture whose code may run.
///
/// # Errors
/// [`KernelError::NotCompiled`]; errors of opening the GPU; [`KernelError::OutOfMemory`];
/// [`KernelError::Driver`].
pub fn run(
    ordinal: usize,
    newest_code: Option<u32>,
    options: TimingOptions,
) -> Result<TimingReport, KernelError> {
    #[cfg(feature = "cuda")]
    {
        let gpu = moss_cuda::Gpu::open(ordinal, newest_code)?;
        let bandwidth = gpu.copy_bandwidth()?;
        let timing =
            network::KernelTiming::new(&gpu, options.bits, options.layers, options.positions())?;
        Ok(TimingReport {
            device: format!("{}, {}", gpu.info().name, gpu.info().code),
            bandwidth,
            step: timing.step(1, options.context)?,
            steps: timing.steps(&options.rows, options.context)?,
            prompts: timing.prompts(&options.prompts)?,
        })
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = (ordinal, newest_code, options);
        Err(KernelError::NotCompiled {
            op: "times of kernels",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_holds_every_sequence_of_the_largest_step_in_separate_blocks() {
        let options = |rows: &[usize], prompts: &[usize]| TimingOptions {
            bits: None,
            layers: 1,
            context: 513,
            rows: rows.to_vec(),
            prompts: prompts.to_vec(),
        };
        assert_eq!(options(&[], &[513]).positions(), 528);
        assert_eq!(options(&[1, 128, 64], &[513]).positions(), 128 * 528);
        assert_eq!(options(&[2], &[1900]).positions(), 1900);
    }
}
