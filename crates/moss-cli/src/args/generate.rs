//! Flags of `generate`.

use clap::Args;

/// Answer one message and leave
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// The message; read from stdin where it is missing
    pub(crate) message: Option<String>,
    /// Token ids to go on from, as they are: no prompt is built around them
    ///
    /// Prints text, or ids where the folder holds no tokenizer.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        conflicts_with = "message"
    )]
    pub(crate) ids: Vec<u32>,
    /// Go on from the message as it is: no prompt is built around it
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
