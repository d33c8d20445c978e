//! What can be wrong with tokenizer files, conversations and prompts.

mod zh;

use std::path::PathBuf;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A tokenizer file is not there or cannot be read.
    #[error("cannot read `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A JSON file of another form.
    #[error("`{}` is not a readable {what}", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A line of merges.txt that is not two tokens.
    #[error("line {line} of `{}` is `{found}`, expected two tokens and a space between them", file.display())]
    Merge {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What stands there.
        found: String,
    },
    /// A merge of tokens that the vocabulary lacks, or another inconsistency.
    #[error("vocab.json and merges.txt in `{}` do not fit together: {reason}", folder.display())]
    Bpe {
        /// The folder.
        folder: PathBuf,
        /// What the tokenizers crate says.
        reason: String,
    },
    /// Ids that are not 0, 1, 2 and so on, each once.
    #[error("token id {id} in `{}` is {found}, expected every id from 0 to {last} once", folder.display())]
    Ids {
        /// The folder.
        folder: PathBuf,
        /// The id.
        id: u32,
        /// "missing" or "there twice".
        found: &'static str,
        /// The last id that there should be.
        last: u32,
    },
    /// A token that is not written in byte-level characters.
    #[error("token {id} in `{}` is `{found}`, expected byte-level characters", folder.display())]
    Token {
        /// The folder.
        folder: PathBuf,
        /// Its id.
        id: u32,
        /// Its text.
        found: String,
    },
    /// A special token that chats need.
    #[error("special token `{name}` is missing from the tokenizer in `{}`", folder.display())]
    MissingSpecial {
        /// The folder.
        folder: PathBuf,
        /// The token.
        name: &'static str,
    },
    /// The tokenizers crate failed.
    #[error("cannot tokenize a text of {bytes} bytes: {reason}")]
    Encode {
        /// Length of the text.
        bytes: usize,
        /// What it says.
        reason: String,
    },
    /// A plugin whose call is nowhere published.
    #[error("plugin `{plugin}` cannot be enabled: no API was ever published for it")]
    NoPluginApi {
        /// The plugin.
        plugin: &'static str,
    },
    /// A name that is no plugin.
    #[error("`{found}` is no plugin, expected one of {expected}")]
    UnknownPlugin {
        /// The name.
        found: String,
        /// The names there are.
        expected: String,
    },
    /// The newest turn does not fit the window by itself.
    #[error(
        "the instruction and this one message take {found} tokens, at most {allowed} fit beside an answer"
    )]
    TurnTooLong {
        /// Tokens of the shortest prompt.
        found: usize,
        /// Tokens that the window leaves.
        allowed: usize,
    },
    /// A saved conversation of another form.
    #[error("this is not a saved conversation")]
    Conversation {
        /// Where and why.
        source: serde_json::Error,
    },
    /// A saved conversation of a version that this program does not know.
    #[error("the conversation was saved in form {found}, expected {expected}")]
    ConversationVersion {
        /// Version found.
        found: u32,
        /// Version known.
        expected: u32,
    },
}

impl TextError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => {
                "a published tokenizer is vocab.json, merges.txt and added_tokens.json, beside the weights"
                    .into()
            }
            Self::Json { .. }
            | Self::Merge { .. }
            | Self::Bpe { .. }
            | Self::Ids { .. }
            | Self::Token { .. } => "use the tokenizer files of the checkpoint as published".into(),
            Self::NoPluginApi { .. } => {
                "those with a published API are web-search, calculator, equation-solver and text-to-image"
                    .into()
            }
            Self::TurnTooLong { .. } => "shorten the message, or the system text".into(),
            _ => return None,
        })
    }
}
