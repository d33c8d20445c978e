//! Flags of `generate`.

use clap::Args;

/// Answer one message and exit
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// The message [default: read from stdin]
    pub(crate) message: Option<String>,
    /// Continue these token ids as they are, without a chat prompt
    ///
    /// Prints text, or ids if the folder has no tokenizer.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        conflicts_with = "message"
    )]
    pub(crate) ids: Vec<u32>,
    /// Continue the message as it is, without a chat prompt
    #[arg(long)]
    pub(crate) raw: bool,
    /// End the answer before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,
    /// Do not stop at the token that ends an answer
    #[arg(long)]
    pub(crate) ignore_eos: bool,
    /// Print one JSON object: ids, text, stop, usage, timings
    #[arg(long)]
    pub(crate) json: bool,
}
