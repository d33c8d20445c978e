//! Flags of `eval`.

use std::path::PathBuf;

use clap::Args;

/// Measure perplexity on a text, and agreement with another checkpoint
///
/// Long texts are split into overlapping windows, and every token is counted once. Only the replies
/// of dialogues are counted.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// A text, or a .jsonl file with {"turns": [{"user", "moss"}]} or {"text"} per line
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) perplexity: PathBuf,
    /// Reference checkpoint: prints KL(OTHER || model) and how often the most likely tokens agree;
    /// its activations are exact
    #[arg(long, value_name = "OTHER")]
    pub(crate) against: Option<PathBuf>,
    /// Tokens per window [default: the model's context length]
    #[arg(long, value_name = "N")]
    pub(crate) window: Option<usize>,
    /// Tokens from one window to the next [default: half a window]
    #[arg(long, value_name = "N")]
    pub(crate) stride: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
