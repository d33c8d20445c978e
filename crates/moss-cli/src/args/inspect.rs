//! Flags of `inspect`.

use std::path::PathBuf;

use clap::Args;

/// Show what a checkpoint contains: sizes, format, problems
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The checkpoint: a folder, a hub id or a short name [default: what --model or --demo names]
    pub(crate) path: Option<PathBuf>,
    /// List every tensor
    #[arg(long)]
    pub(crate) tensors: bool,
    /// Read all data: verify checksums of PyTorch files, and find inf and NaN
    #[arg(long)]
    pub(crate) check: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
