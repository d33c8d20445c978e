//! Flags of `eval`.

use std::path::PathBuf;

use clap::Args;

/// Measure perplexity on a text, and agreement with another checkpoint
///
/// Long texts are read through overlapping windows; every token counts once. Of dialogues the
/// replies count.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// A text, or .jsonl with {"turns": [{"user", "moss"}]} or {"text"} a line
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) perplexity: PathBuf,
    /// The reference: KL(OTHER || model) and how often the likeliest tokens agree. Its activations
    /// are exact
    #[arg(long, value_name = "OTHER")]
    pub(crate) against: Option<PathBuf>,
    /// Tokens of a window [default: the model's]
    #[arg(long, value_name = "N")]
    pub(crate) window: Option<usize>,
    /// Tokens from one window to the next [default: half a window]
    #[arg(long, value_name = "N")]
    pub(crate) stride: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
