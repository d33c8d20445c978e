//! Flags of `bench`.

use std::ops::RangeInclusive;

use clap::Args;
use moss::model::MossConfig;
use moss_bench::batch::MAX_SEQUENCES;

use super::{
    model::FormatArg,
    parse::{at_least, layers, sizes},
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
    /// 64,512,1900; with --batch 64, on a GPU 512]
    #[arg(long, value_name = "N[,N…]", value_delimiter = ',', value_parser = at_least::<1>)]
    pub(crate) prompt: Vec<usize>,
    /// Tokens to generate after each prompt, or steps to measure of each size of --batch [default:
    /// 16; on a GPU 128; with --batch 4, on a GPU 32]
    #[arg(long, value_name = "N", value_parser = at_least::<1>)]
    pub(crate) new: Option<usize>,
    /// Time each kernel of one GPU separately, with random weights; --prompt sets the prompt
    /// lengths, the first one is the context too [default: 512]
    #[arg(long)]
    pub(crate) kernels: bool,
    /// With --kernels, also time decode steps of N sequences
    #[arg(
        long,
        value_name = "N[-N][,N…]",
        value_delimiter = ',',
        value_parser = sizes::<MAX_SEQUENCES>,
        requires = "kernels"
    )]
    pub(crate) rows: Vec<RangeInclusive<usize>>,
    /// Then measure N concurrent requests, each with the first prompt [default prompt: 128]
    #[arg(long, value_name = "N[,N…]", value_delimiter = ',', value_parser = at_least::<1>, conflicts_with = "kernels")]
    pub(crate) clients: Vec<usize>,
    /// With --clients, also measure the longest gap in N streams while a prompt of TOKENS arrives
    #[arg(long, value_name = "TOKENS", value_parser = at_least::<1>, requires = "clients")]
    pub(crate) arrival: Option<usize>,
    /// Instead measure decode steps of N sequences after the first prompt, and list the sizes that
    /// cost more than the next larger one
    #[arg(
        long,
        value_name = "N[-N][,N…]",
        value_delimiter = ',',
        value_parser = sizes::<MAX_SEQUENCES>,
        conflicts_with_all = ["kernels", "rows", "clients", "timeline"]
    )]
    pub(crate) batch: Vec<RangeInclusive<usize>>,
    /// Instead measure speculative decoding after the first prompt: a reply that repeats it, and a
    /// random one, without drafts and with those of --speculate
    #[arg(long, conflicts_with_all = ["kernels", "rows", "clients", "batch", "timeline"])]
    pub(crate) drafts: bool,
    /// Instead measure the time to the first token of prompts of the first length whose beginning is
    /// in the cache: a second turn, and a shared prefix [default prompt: 343; on a GPU 1932]
    #[arg(long, conflicts_with_all = ["kernels", "rows", "clients", "batch", "drafts", "timeline", "new"])]
    pub(crate) reuse: bool,
    /// Draw when each stage is busy, for the last prompt and a token after it
    #[arg(long, conflicts_with = "kernels")]
    pub(crate) timeline: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl BenchArgs {
    /// Returns the sizes of `--batch`, each once, in ascending order.
    pub(crate) fn batch_sizes(&self) -> Vec<usize> {
        ascending(&self.batch)
    }

    /// Returns the sizes of `--rows`, each once, in ascending order.
    pub(crate) fn row_counts(&self) -> Vec<usize> {
        ascending(&self.rows)
    }
}

fn ascending(ranges: &[RangeInclusive<usize>]) -> Vec<usize> {
    let mut sizes: Vec<usize> = ranges.iter().cloned().flatten().collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_ranges_in_any_order_give_each_size_once() {
        assert_eq!(ascending(&[8..=8, 1..=4, 3..=5, 8..=8]), [1, 2, 3, 4, 5, 8]);
        assert!(ascending(&[]).is_empty());
    }
}
