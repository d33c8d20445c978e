//! Flags of `inspect`.

use std::path::PathBuf;

use clap::Args;

/// Say what a checkpoint holds: sizes, format, problems
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The checkpoint: a folder, a hub id or a short name [default: what --model or --demo names]
    pub(crate) path: Option<PathBuf>,
    /// List every tensor
    #[arg(long)]
    pub(crate) tensors: bool,
    /// Read everything: checksums of PyTorch files, inf and NaN among the floats
    #[arg(long)]
    pub(crate) check: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
