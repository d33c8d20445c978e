//! Flags of `tokenize`.

use clap::Args;

/// Convert text to token ids and back: JSON lines from stdin to stdout
///
/// {"text": …} gives {"ids": […]}; {"ids": […]} gives {"text": …, "text_skip_special": …}; any
/// other line, or an unknown id, gives {"error": …} and exit status 1 at the end. The folder of
/// --model may contain only tokenizer files.
#[derive(Debug, Args)]
pub(crate) struct TokenizeArgs {}
