//! The times of kernels.

/// The time of one kernel, or of one matrix product of prefill (GEMM) with its dequantization.
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

impl KernelTimes {
    /// Returns the sum of the kernels' times in seconds.
    pub fn sum(&self) -> f64 {
        self.kernels
            .iter()
            .map(|kernel| kernel.calls as f64 * kernel.seconds)
            .sum()
    }
}
