//! Flags of `tokenize`.

use clap::Args;

/// Turn texts into ids and ids into texts: JSON lines from stdin to stdout
///
/// {"text": …} gives {"ids": […]}; {"ids": […]} gives {"text": …, "text_skip_special": …}; a line
/// that is neither, or has an unknown id, gives {"error": …} and exit status 1 in the end. The
/// folder named by --model may hold tokenizer files alone.
#[derive(Debug, Args)]
pub(crate) struct TokenizeArgs {}
