//! Flags of `quantize`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use moss::weights::GptqBits;

use super::{convert::ContainerArg, parse::bits};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodArg {
    /// Errors are made up for, on calibration text
    Gptq,
    /// Round to nearest: fast, less exact
    Rtn,
}

/// Quantise the linear layers of an fp16 checkpoint, in the published layout
///
/// GPTQ runs calibration text through the network layer by layer, on the first device of `--gpu`.
/// Prints the error of every layer, and the perplexity before and after on texts that were kept out
/// of calibration.
#[derive(Debug, Args)]
pub(crate) struct QuantizeArgs {
    /// The checkpoint: a folder, a hub id or a short name
    #[arg(id = "src", value_name = "SRC")]
    pub(crate) source: PathBuf,
    /// The folder to write
    #[arg(value_name = "DST")]
    pub(crate) target: PathBuf,
    /// Bits of a weight
    #[arg(long, value_name = "4|8", default_value = "4", value_parser = bits)]
    pub(crate) bits: GptqBits,
    /// Inputs that share a scale; -1 for all of a layer
    #[arg(long, value_name = "N", default_value_t = 128, allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1..))]
    pub(crate) group_size: i32,
    /// How weights are rounded
    #[arg(long, value_name = "METHOD", default_value = "gptq")]
    pub(crate) method: MethodArg,
    /// Round the weights of the strongest inputs first: nearer to fp16, but groups no longer follow
    /// each other
    #[arg(long)]
    pub(crate) act_order: bool,
    /// Share of the mean diagonal that is added to the Hessian's diagonal
    #[arg(long, value_name = "X", default_value_t = 0.01)]
    pub(crate) dampening: f64,
    /// Calibration: a text, or .jsonl with {"turns": [{"user", "moss"}]} or {"text"} a line
    /// [default: short dialogues that come with this program]
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,
    /// Windows of calibration at most
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) samples: usize,
    /// The container to write
    #[arg(long, value_name = "CONTAINER", default_value = "bin")]
    pub(crate) container: ContainerArg,
    /// Replace a checkpoint that is in DST already
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not measure perplexity
    #[arg(long)]
    pub(crate) no_perplexity: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
