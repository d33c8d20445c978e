//! Parity of every GPU kernel with the CPU's: the shapes of the published model and of the test
//! checkpoints, and shapes at which nothing is a whole block, tile or group.
//!
//! A case sets up its buffers, computes what is expected on the CPU, and runs its kernel three
//! times: the results must be the same bits, since sums have one order, and no further from the
//! expected ones than the case allows, for a reason that it gives.

#[cfg(feature = "cuda")]
mod attention;
#[cfg(any(feature = "cuda", test))]
mod difference;
#[cfg(feature = "cuda")]
mod elementwise;
#[cfg(feature = "cuda")]
mod fused;
#[cfg(feature = "cuda")]
mod gemm;
#[cfg(feature = "cuda")]
mod harness;
#[cfg(feature = "cuda")]
mod linear;
#[cfg(feature = "cuda")]
mod top_k;

use moss_weights::KernelError;

#[cfg(feature = "cuda")]
pub use harness::{Case, ParityHarness, cases};

/// The result of one case.
#[derive(Debug, Clone)]
pub struct CaseReport {
    /// The kernel.
    pub kernel: &'static str,
    /// The shape, in words.
    pub shape: String,
    /// Largest relative error; see the module `difference`. Infinite where a result is not a
    /// number.
    pub max_error: f64,
    /// Largest relative error that the case allows.
    pub allowed: f64,
    /// Why so much is allowed.
    pub reason: &'static str,
    /// Is true if every run gave the same bits.
    pub repeats: bool,
}

impl CaseReport {
    /// Returns true if the error is within the tolerance and every run gave the same bits.
    pub fn passed(&self) -> bool {
        self.repeats && self.max_error <= self.allowed
    }
}

/// Runs every case whose kernel's name contains `filter` on one GPU, and passes each result to
/// `each`. `newest_code` is the newest architecture whose code may run.
///
/// # Errors
/// [`KernelError::NotCompiled`]; errors of opening the GPU; [`KernelError::OutOfMemory`];
/// [`KernelError::Driver`], after which the GPU may be of no more use to this process.
pub fn run(
    ordinal: usize,
    newest_code: Option<u32>,
    filter: &str,
    each: &mut dyn FnMut(CaseReport),
) -> Result<(), KernelError> {
    #[cfg(feature = "cuda")]
    {
        let gpu = moss_cuda::Gpu::open(ordinal, newest_code)?;
        let harness = ParityHarness::new(&gpu)?;
        cases()
            .iter()
            .filter(|case| case.kernel().contains(filter))
            .try_for_each(|case| harness.check(case).map(&mut *each))
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = (ordinal, newest_code, filter, each);
        Err(KernelError::NotCompiled {
            op: "parity of kernels",
        })
    }
}
