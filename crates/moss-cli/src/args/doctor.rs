//! Flags of `doctor`.

use clap::Args;

/// Look at driver, GPUs, terminal and disks, and say what speed to expect
///
/// Exit status 1 if the self-test fails.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Compare every kernel with the CPU's on every GPU, and let the demo models answer on each
    /// device
    #[arg(long)]
    pub(crate) selftest: bool,
    /// Of the self-test, only kernels whose name contains this, and no demo models
    #[arg(long, value_name = "KERNEL", requires = "selftest")]
    pub(crate) only: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
