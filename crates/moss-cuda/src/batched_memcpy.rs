//! Several short copies between host and card in one launch.

use super::{
    Gpu, args, count,
    launch::{Geometry, Kernel, params},
    pinned::Uses,
    rule,
};
use crate::KernelError;

const OP: &str = "copy runs";

/// Words of a block of threads.
const TILE: usize = 1024;

/// A copy between a [`super::Pinned`] and a [`super::Buffer`] that [`Gpu::copy_runs`] is to make.
pub struct CopyRun<'a> {
    run: args::CopyRun,
    uses: &'a Uses,
}

impl std::fmt::Debug for CopyRun<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.run.fmt(f)
    }
}

impl<'a> CopyRun<'a> {
    /// `len` values of `T` between addresses that hold as many.
    pub(super) fn new<T>(from: u64, to: u64, len: usize, uses: &'a Uses) -> Self {
        const { assert!(size_of::<T>().is_multiple_of(4) && align_of::<T>().is_multiple_of(4)) };
        let words = (len * size_of::<T>() / 4) as u64;
        Self {
            run: args::CopyRun {
                from: from as *const u32,
                to: to as *mut u32,
                words,
            },
            uses,
        }
    }
}

impl Gpu {
    /// Starts up to four copies, and has what comes next wait for them. Can be recorded, where
    /// their host memory can.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for more; [`KernelError::Driver`].
    pub fn copy_runs(&self, runs: &[CopyRun<'_>]) -> Result<(), KernelError> {
        let mut args = args::CopyRunsArgs::default();
        let most = args.runs.len();
        rule(
            OP,
            "runs",
            runs.len(),
            runs.len() <= most,
            format!("at most {most}"),
        )?;
        args.runs
            .iter_mut()
            .zip(runs)
            .for_each(|(to, run)| *to = run.run);
        let longest = runs
            .iter()
            .map(|run| run.run.words as usize)
            .max()
            .unwrap_or(0);
        let grid = (
            count(OP, "words", longest.div_ceil(TILE))?,
            count(OP, "runs", runs.len())?,
            1,
        );
        // SAFETY: the only argument is `CopyRunsArgs`, as in kernels/copy_runs.cu; `Pinned` checked
        // both ends of every run, page-locked memory has one address for host and cards, and the
        // host waits for `Uses` before it touches the memory again.
        unsafe {
            self.launch(
                Kernel::CopyRuns,
                Geometry { grid, block: 256 },
                params![args],
            )
        }?;
        self.kernels.settle(); // attention, for one, reads positions and tables before it waits
        runs.iter().try_for_each(|run| run.uses.used(OP))
    }
}
