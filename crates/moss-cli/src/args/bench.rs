//! Flags of `bench`.

use clap::Args;
use moss::model::MossConfig;

use super::{
    model::FormatArg,
    parse::{at_least, layers},
};

/// Measure prefill and decode speed, compared with the memory bandwidth
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Use random weights of MOSS-moon-003's true size, without files
    #[arg(long)]
    pub(crate) random_weights: bool,
    /// Format of the random weights
    #[arg(long, value_name = "FORMAT", default_value = "int4")]
    pub(crate) format: FormatArg,
    /// Number of layers of the model with random weights
    #[arg(long, value_name = "N", default_value_t = MossConfig::moon_003().num_layers, value_parser = layers)]
    pub(crate) layers: usize,
    /// Prompt tokens; several are measured one after the other [default: 512; on a GPU
    /// 64,512,1900]
    #[arg(long, value_name = "N[,N…]", value_delimiter = ',', value_parser = at_least::<1>)]
    pub(crate) prompt: Vec<usize>,
    /// Tokens to generate after each prompt [default: 16; on a GPU 128]
    #[arg(long, value_name = "N", value_parser = at_least::<1>)]
    pub(crate) new: Option<usize>,
    /// Time each kernel of one GPU separately, with random weights; --prompt sets the prompt
    /// lengths, the first one is the context too [default: 512]
    #[arg(long)]
    pub(crate) kernels: bool,
    /// Then measure N concurrent requests, each with the first prompt [default prompt: 128]
    #[arg(long, value_name = "N[,N…]", value_delimiter = ',', value_parser = at_least::<1>, conflicts_with = "kernels")]
    pub(crate) clients: Vec<usize>,
    /// Draw when each stage is busy, for the last prompt and a token after it
    #[arg(long, conflicts_with = "kernels")]
    pub(crate) timeline: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
