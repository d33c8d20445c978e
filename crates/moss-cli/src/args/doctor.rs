//! Flags of `doctor`.

use clap::Args;

/// Check driver, GPUs, terminal and disks, and estimate the speed
///
/// Exit status 1 if the self-test fails.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Compare every kernel on every GPU with the CPU's, and generate with the demo models on every
    /// device
    #[arg(long)]
    pub(crate) selftest: bool,
    /// Restrict the self-test to kernels whose name contains this text, without demo models
    #[arg(long, value_name = "KERNEL", requires = "selftest")]
    pub(crate) only: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
