//! Flags of `plan`.

use clap::Args;

use super::{model::FormatArg, parse::above_zero};

/// Say which layers would go to which card, and how fast that could be at best
///
/// Nothing is loaded, and no files are needed for the published models. `--cards` takes cards that
/// this machine need not have; without it, `--gpu` says which of this machine's are meant.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Cards by name, in the order of the layers: t4, a10, l4, l40s, a100-40, a100-80, h100, h200,
    /// rtx2080ti, rtx3090, rtx4090, cpu
    #[arg(long, value_name = "CARD,CARD…", value_delimiter = ',')]
    pub(crate) cards: Vec<String>,
    /// Format of the weights [default: the checkpoint's, or what the model's name says]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<FormatArg>,
    /// Tokens that the cache has room for [default: the model's window]
    #[arg(long, value_name = "N")]
    pub(crate) context: Option<usize>,
    /// GB a second that the CPU reads [default: measured now]
    #[arg(long, value_name = "GB/s", value_parser = above_zero)]
    pub(crate) cpu_bandwidth: Option<f64>,
    /// GB of host memory that may be used [default: what is available now]
    #[arg(long, value_name = "GB", value_parser = above_zero)]
    pub(crate) cpu_memory: Option<f64>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
