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

use moss_weights::{GptqBits, KernelError};

pub use times::{KernelTime, KernelTimes, PromptTimes};

/// The options of a timing.
#[derive(Debug, Clone)]
pub struct TimingOptions {
    /// Width of packed weights; `None` for f16.
    pub bits: Option<GptqBits>,
    /// Number of layers, each with separate weights and cache.
    pub layers: usize,
    /// Positions of the decode step, including the new token.
    pub context: usize,
    /// Tokens of each prompt, which are measured one after the other.
    pub prompts: Vec<usize>,
}

/// The times, and the memory bandwidth measured in the same run.
#[derive(Debug, Clone)]
pub struct TimingReport {
    /// The GPU and the code it runs.
    pub device: String,
    /// Bytes per second of a copy within the GPU.
    pub bandwidth: f64,
    /// A decode step.
    pub step: KernelTimes,
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
        let longest = options.prompts.iter().max().copied().unwrap_or(0);
        let positions = options.context.max(longest);
        let timing = network::KernelTiming::new(&gpu, options.bits, options.layers, positions)?;
        Ok(TimingReport {
            device: format!("{}, {}", gpu.info().name, gpu.info().code),
            bandwidth,
            step: timing.step(options.context)?,
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
