//! The times of kernels.

/// The time of one kernel.
#[derive(Debug, Clone)]
pub struct KernelTime {
    /// Its name, and its part of the network.
    pub kernel: &'static str,
    /// Runs in a step or a prompt.
    pub calls: usize,
    /// Bytes that each run reads and writes at least.
    pub bytes: u64,
    /// Floating-point operations of each run.
    pub operations: f64,
    /// Seconds of each run alone.
    pub seconds: f64,
}

/// The times of a step or a prompt.
#[derive(Debug, Clone)]
pub struct KernelTimes {
    /// In the order of a layer.
    pub kernels: Vec<KernelTime>,
    /// Seconds of the whole step or prompt.
    pub seconds: f64,
}

/// The times of a decode step of several sequences.
#[derive(Debug, Clone)]
pub struct StepTimes {
    /// Sequences, each with one generated token.
    pub rows: usize,
    /// The times of its kernels.
    pub times: KernelTimes,
}

/// The times of a prompt.
#[derive(Debug, Clone)]
pub struct PromptTimes {
    /// Its tokens.
    pub tokens: usize,
    /// The times of its kernels.
    pub times: KernelTimes,
    /// The times of cuBLAS for the two dense products of a layer in f16, without their epilogues.
    /// Empty if cuBLAS cannot be loaded.
    pub baseline: Vec<KernelTime>,
}

impl KernelTimes {
    /// Returns the sum of the kernels' times in seconds.
    pub fn sum(&self) -> f64 {
        self.kernels
            .iter()
            .map(|kernel| kernel.calls as f64 * kernel.seconds)
            .sum()
    }
}
