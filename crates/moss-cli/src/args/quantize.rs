//! Flags of `quantize`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use moss::weights::GptqBits;

use super::{convert::ContainerArg, parse::bits};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodArg {
    /// Error-compensated rounding with calibration text
    Gptq,
    /// Round to nearest: fast, less accurate
    Rtn,
}

/// Quantize the linear layers of an fp16 checkpoint, in the published layout
///
/// GPTQ runs calibration text through the network layer by layer, on the first device of `--gpu`.
/// Prints the error of every layer, and the perplexity before and after, measured on texts that are
/// not used for calibration.
#[derive(Debug, Args)]
pub(crate) struct QuantizeArgs {
    /// The checkpoint: a folder, a hub id or a short name
    #[arg(id = "src", value_name = "SRC")]
    pub(crate) source: PathBuf,
    /// The folder to write
    #[arg(value_name = "DST")]
    pub(crate) target: PathBuf,
    /// Bits per weight
    #[arg(long, value_name = "4|8", default_value = "4", value_parser = bits)]
    pub(crate) bits: GptqBits,
    /// Number of inputs that share a scale; -1 for all inputs of a layer
    #[arg(long, value_name = "N", default_value_t = 128, allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1..))]
    pub(crate) group_size: i32,
    /// Rounding method
    #[arg(long, value_name = "METHOD", default_value = "gptq")]
    pub(crate) method: MethodArg,
    /// Round the weights of the inputs with the largest activations first: closer to fp16, but
    /// groups are no longer contiguous
    #[arg(long)]
    pub(crate) act_order: bool,
    /// Fraction of the Hessian's mean diagonal that is added to its diagonal
    #[arg(long, value_name = "X", default_value_t = 0.01)]
    pub(crate) dampening: f64,
    /// Calibration data: a text, or a .jsonl file with {"turns": [{"user", "moss"}]} or {"text"}
    /// per line [default: short dialogues that are part of this program]
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,
    /// Maximum number of calibration windows
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) samples: usize,
    /// The container to write
    #[arg(long, value_name = "CONTAINER", default_value = "bin")]
    pub(crate) container: ContainerArg,
    /// Replace an existing checkpoint in DST
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not measure perplexity
    #[arg(long)]
    pub(crate) no_perplexity: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
