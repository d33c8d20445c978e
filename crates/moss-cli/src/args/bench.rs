//! Flags of `bench`.

use clap::Args;

use super::{
    model::FormatArg,
    parse::{at_least, layers},
};

/// Measure prefill and decode, beside what this machine's memory gives
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Make up weights of MOSS-moon-003's true sizes: no files needed
    #[arg(long)]
    pub(crate) random_weights: bool,
    /// Format of made-up weights
    #[arg(long, value_name = "FORMAT", default_value = "int4")]
    pub(crate) format: FormatArg,
    /// Layers of a model with made-up weights
    #[arg(long, value_name = "N", default_value = "34", value_parser = layers)]
    pub(crate) layers: usize,
    /// Prompt tokens, several to be measured one after the other [default: 512; on a GPU
    /// 64,512,1900]
    #[arg(long, value_name = "N[,N…]", value_delimiter = ',', value_parser = at_least::<1>)]
    pub(crate) prompt: Vec<usize>,
    /// Tokens to generate after each prompt [default: 16; on a GPU 128]
    #[arg(long, value_name = "N", value_parser = at_least::<1>)]
    pub(crate) new: Option<usize>,
    /// Time each kernel of one GPU by itself, with made-up weights: at the context, and for the
    /// prompt, of --prompt [default: 512]
    #[arg(long)]
    pub(crate) kernels: bool,
    /// Then let so many conversations ask at the same time, each with the first prompt [default
    /// prompt: 128]
    #[arg(long, value_name = "N[,N…]", value_delimiter = ',', value_parser = at_least::<1>, conflicts_with = "kernels")]
    pub(crate) clients: Vec<usize>,
    /// Draw when each stage works, for the last prompt and a token after it
    #[arg(long, conflicts_with = "kernels")]
    pub(crate) timeline: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
