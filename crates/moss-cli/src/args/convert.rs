//! Flags of `convert`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use moss::quantize::Container;

use super::parse::above_zero;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ContainerArg {
    /// PyTorch files, as published
    Bin,
    /// Safetensors files
    Safetensors,
}

impl From<ContainerArg> for Container {
    fn from(arg: ContainerArg) -> Self {
        match arg {
            ContainerArg::Bin => Self::Torch,
            ContainerArg::Safetensors => Self::Safetensors,
        }
    }
}

/// Write a checkpoint to another container, bit for bit
///
/// Memory use does not grow with the files. Every shard is read back and verified. The same command
/// resumes an interrupted run. DST appears when it is complete.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The checkpoint: a folder, a hub id or a short name
    #[arg(id = "src", value_name = "SRC")]
    pub(crate) source: PathBuf,
    /// The folder to write
    #[arg(value_name = "DST")]
    pub(crate) target: PathBuf,
    /// The container to write
    #[arg(long, value_name = "CONTAINER")]
    pub(crate) to: ContainerArg,
    /// Maximum file size in GB (10^9 bytes); a larger tensor gets a separate file
    #[arg(long, value_name = "GB", default_value_t = 5.0, value_parser = above_zero)]
    pub(crate) max_shard_size: f64,
    /// Replace an existing checkpoint in DST
    #[arg(long)]
    pub(crate) force: bool,
}
