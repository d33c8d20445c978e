//! Batched memcpy: several short copies between host memory and the GPU in one launch.

use moss_weights::{DriverCall, KernelError, Rule};

use crate::{
    args::CopyRunsArgs,
    contract::{count, rule},
    device::Gpu,
    kernels::Kernel,
    launch::{Call, Geometry},
    pinned::CopyRun,
};

const OP: &str = "batched memcpy";

/// Words that a thread block copies at a time.
const TILE: usize = 1024;

/// Thread blocks per copy, enough for the bandwidth of the bus.
const MAX_BLOCKS: usize = 256;

impl Gpu {
    /// Enqueues up to four copies in one launch, and disables programmatic dependent launch for the
    /// next kernel. Can be captured in a CUDA graph if the host memory can.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for more copies; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn batched_memcpy(&self, runs: &[CopyRun<'_>]) -> Result<(), KernelError> {
        let mut args = CopyRunsArgs::NONE;
        let most = args.runs.len();
        rule(
            OP,
            "copies",
            runs.len(),
            runs.len() <= most,
            Rule::AtMost(most),
        )?;
        for (to, run) in args.runs.iter_mut().zip(runs) {
            self.id.check(OP, "copy", run.device)?;
            *to = run.run;
        }
        let blocks = runs.iter().map(|CopyRun { run, .. }| {
            let part = if run.row_words == 0 {
                TILE
            } else {
                run.row_words as usize
            };
            (run.words as usize).div_ceil(part)
        });
        let most_blocks = blocks.max().unwrap_or(0).min(MAX_BLOCKS);
        let grid = (
            count(OP, "words", most_blocks)?,
            count(OP, "copies", runs.len())?,
            1,
        );
        let geometry = Geometry { grid, block: 256 };
        Call::new(self, OP).launch(Kernel::BATCHED_MEMCPY, geometry, &args)?;
        // Attention reads positions and block tables before it waits.
        self.kernels.serialize_next();
        let call = DriverCall::Kernel(Kernel::BATCHED_MEMCPY.name());
        runs.iter().try_for_each(|run| run.used(call))
    }
}
