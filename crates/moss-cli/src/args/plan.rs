//! Flags of `plan`.

use clap::Args;

use super::{model::FormatArg, parse::above_zero};

/// Show the placement of the layers on devices, and an upper bound of the speed
///
/// Nothing is loaded, and the published models need no files. `--cards` takes GPUs that this
/// machine may not have; without it, `--gpu` selects GPUs of this machine.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// GPUs by name, in the order of the layers: t4, a10, l4, l40s, a100-40, a100-80, h100, h200,
    /// rtx2080ti, rtx3090, rtx4090, cpu
    #[arg(
        id = "cards", // idiom-ok: published flag
        long = "cards", // idiom-ok: published flag
        value_name = "GPU,GPU…",
        value_delimiter = ','
    )]
    pub(crate) gpus: Vec<String>,
    /// Format of the weights [default: the checkpoint's, or according to the model's name]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<FormatArg>,
    /// Size of the KV cache in tokens [default: the model's context length]
    #[arg(long, value_name = "N")]
    pub(crate) context: Option<usize>,
    /// Read bandwidth of the CPU in GB/s [default: measured now]
    #[arg(long, value_name = "GB/s", value_parser = above_zero)]
    pub(crate) cpu_bandwidth: Option<f64>,
    /// Host memory in GB [default: the memory available now]
    #[arg(long, value_name = "GB", value_parser = above_zero)]
    pub(crate) cpu_memory: Option<f64>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
