//! Parity tests: every GPU kernel is compared with the CPU's, at the shapes of the published model
//! and of the test checkpoints, and at shapes that are not multiples of a block, tile or group.
//!
//! A case allocates its buffers, computes the expected values on the CPU, and runs its kernel three
//! times. The results must be bit-identical, because the order of sums is fixed, and their relative
//! error must be within the tolerance of the case, which states its reason.

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
mod int8_cache;
#[cfg(feature = "cuda")]
mod invariance;
#[cfg(feature = "cuda")]
mod linear;
#[cfg(feature = "cuda")]
mod paged;
#[cfg(feature = "cuda")]
mod path;
mod report;
#[cfg(feature = "cuda")]
mod residual_sum;
#[cfg(feature = "cuda")]
mod sampling;
#[cfg(feature = "cuda")]
mod tolerance;
#[cfg(feature = "cuda")]
mod weights;

use moss_weights::KernelError;

#[cfg(feature = "cuda")]
pub use harness::{Case, ParityHarness};
pub use report::CaseReport;

/// Returns every case, by family.
#[cfg(feature = "cuda")]
pub fn cases() -> Vec<Case> {
    [
        elementwise::cases(),
        linear::cases(),
        fused::cases(),
        attention::cases(),
        int8_cache::cases(),
        gemm::cases(),
        invariance::cases(),
        sampling::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Runs every case whose kernel's name contains `filter` on one GPU, and passes each result to
/// `each`. `newest_code` is the newest architecture whose code may run.
///
/// # Errors
/// [`KernelError::NotCompiled`]; errors of opening the GPU; [`KernelError::OutOfMemory`];
/// [`KernelError::Driver`], after which the GPU may be unusable in this process.
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
