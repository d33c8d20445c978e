//! Flags of `logits`.

use std::path::PathBuf;

use clap::Args;

/// Write the logits of some token ids to a safetensors file
#[derive(Debug, Args)]
pub(crate) struct LogitsArgs {
    /// Token ids
    #[arg(long, value_name = "LIST", value_delimiter = ',', required = true)]
    pub(crate) ids: Vec<u32>,
    /// Write only those of the last position
    #[arg(long)]
    pub(crate) last: bool,
    /// File to write: an f32 tensor `logits` [positions, vocabulary]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    pub(crate) force: bool,
}
