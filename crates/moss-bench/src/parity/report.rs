//! The results of parity cases.

/// The result of one case.
#[derive(Debug, Clone)]
pub struct CaseReport {
    /// The kernel.
    pub kernel: &'static str,
    /// The shape, in words.
    pub shape: String,
    /// Largest relative error; see the module `difference`. Infinite if a result is NaN.
    pub max_error: f64,
    /// Largest relative error that the case allows.
    pub allowed: f64,
    /// The reason for the tolerance.
    pub reason: &'static str,
    /// Is true if the results of all runs are bit-identical.
    pub repeats: bool,
}

impl CaseReport {
    /// Returns true if the error is within the tolerance and the runs are bit-identical.
    pub fn passed(&self) -> bool {
        self.repeats && self.max_error <= self.allowed
    }
}
