//! KernelTimes of the kernels of a decode step and of a prompt, each by itself and together, at the
//! published model's sizes.

#[cfg(feature = "cuda")]
mod network;
#[cfg(feature = "cuda")]
mod parts;

use moss_weights::{GptqBits, KernelError};

/// What is timed.
#[derive(Debug, Clone, Copy)]
pub struct TimingOptions {
    /// Width of packed weights; `None` for f16.
    pub bits: Option<GptqBits>,
    /// Layers, each with its own weights and cache.
    pub layers: usize,
    /// Positions of the decode step, its own included.
    pub context: usize,
    /// Tokens of the prompt.
    pub prompt: usize,
}

/// The times, and the memory bandwidth measured in the same run.
#[derive(Debug, Clone)]
pub struct TimingReport {
    /// The GPU and the code it runs.
    pub device: String,
    /// Bytes a second of a copy within the GPU.
    pub bandwidth: f64,
    /// A decode step.
    pub step: KernelTimes,
    /// A prompt.
    pub prompt: KernelTimes,
}

/// One kernel, or one product of many rows with what it takes to make.
#[derive(Debug, Clone)]
pub struct KernelTime {
    /// Its name, and whose part of the network it is.
    pub kernel: &'static str,
    /// KernelTimes that it runs.
    pub calls: usize,
    /// Bytes that each run reads and writes at least.
    pub bytes: u64,
    /// Floating-point operations of each run.
    pub operations: f64,
    /// Seconds of each run, by itself.
    pub seconds: f64,
}

/// A step or a prompt, and its parts.
#[derive(Debug, Clone)]
pub struct KernelTimes {
    /// In the order of a layer.
    pub kernels: Vec<KernelTime>,
    /// Seconds of all of them as one run.
    pub seconds: f64,
}

impl KernelTimes {
    /// Seconds of the parts, one after the other.
    pub fn sum(&self) -> f64 {
        self.kernels
            .iter()
            .map(|kernel| kernel.calls as f64 * kernel.seconds)
            .sum()
    }
}

/// KernelTimes the kernels on one GPU. `newest_code` is the newest architecture whose code may run.
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
        let positions = options.context.max(options.prompt);
        let timing = network::KernelTiming::new(&gpu, options.bits, options.layers, positions)?;
        Ok(TimingReport {
            device: format!("{}, {}", gpu.info().name, gpu.info().code),
            bandwidth,
            step: timing.step(options.context)?,
            prompt: timing.prompt(options.prompt)?,
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
