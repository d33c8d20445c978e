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
    /// A carriage return that does not belong to a line's end, as in files whose lines end in it
    /// alone.
    #[error("line {line} of `{}` holds a carriage return, expected lines that end in LF or CRLF", file.display())]
    LineEnd {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// A merge of something that no earlier merge makes: lines are missing or in another order.
    #[error("line {line} of `{}` merges `{found}`, but no earlier line makes `{part}`", file.display())]
    MergePart {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The two tokens.
        found: String,
        /// The one that is not made yet.
        part: String,
    },
    /// A pair that is merged by two lines.
    #[error("line {line} of `{}` repeats the merge `{found}`", file.display())]
    MergeTwice {
        /// The file.
        file: PathBuf,
        /// The second line, from 1.
        line: usize,
        /// The two tokens.
        found: String,
    },
    /// A merge that stands behind one of a higher token id, in a vocabulary that is numbered in the
    /// order of its merges.
    #[error(
        "line {line} of `{}` makes token {id} after an earlier line made token {before}, expected ascending ids",
        file.display()
    )]
    MergeOrder {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The token it makes.
        id: u32,
        /// The token of the merge before.
        before: u32,
    },
    /// A token of several bytes that no merge makes, so that it could never be used.
    #[error("no line of `{}` makes token {id} (`{found}`); {count} tokens of vocab.json have no merge", file.display())]
    NoMerge {
        /// merges.txt.
        file: PathBuf,
        /// The first such token.
        id: u32,
        /// Its text.
        found: String,
        /// How many there are.
        count: usize,
    },
    /// A byte without a token: texts that hold it would lose it.
    #[error("vocab.json in `{}` has no token for byte {byte}, expected one for each of 0 to 255", folder.display())]
    MissingByte {
        /// The folder.
        folder: PathBuf,
        /// The byte.
        byte: u8,
    },
    /// The two lists of added tokens differ.
    #[error(
        "`{}`: tokenizer_config.json has token {} as `{}`, but added_tokens.json or vocab.json has token {} as `{}`",
        folder.display(), decoder.1, decoder.0, listed.1, listed.0
    )]
    AddedTokens {
        /// The folder.
        folder: PathBuf,
        /// Text and id in `added_tokens_decoder`.
        decoder: (String, u32),
        /// Text and id in the other file.
        listed: (String, u32),
    },
    /// A setting of tokenizer_config.json that would change the ids of texts.
    #[error("`{option}`{} in `{}` is true, expected false", of_token(token.as_deref()), file.display())]
    Unsupported {
        /// tokenizer_config.json.
        file: PathBuf,
        /// The setting.
        option: &'static str,
        /// The added token that it belongs to.
        token: Option<String>,
    },
    /// A folder with a tokenizer of the form that this program does not read.
    #[error("`{}` is there without vocab.json and merges.txt, which are the files that are read", file.display())]
    TokenizerJson {
        /// tokenizer.json.
        file: PathBuf,
    },
    /// A token id without a token.
    #[error("token id {id} at position {position} is unknown, the tokenizer has {tokens} tokens")]
    UnknownId {
        /// Index in the list.
        position: usize,
        /// The id.
        id: u32,
        /// Number of tokens, whose ids begin at 0.
        tokens: usize,
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

/// The added token of a setting, as a part of a sentence.
fn of_token(token: Option<&str>) -> String {
    token.map_or_else(String::new, |token| format!(" of `{token}`"))
}

impl TextError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { source, .. } if source.kind() != std::io::ErrorKind::NotFound => return None,
            Self::Read { .. } => {
                "a published tokenizer is vocab.json, merges.txt and added_tokens.json, beside the weights"
                    .into()
            }
            Self::Json { .. }
            | Self::Merge { .. }
            | Self::Bpe { .. }
            | Self::Ids { .. }
            | Self::MissingByte { .. }
            | Self::Unsupported { .. }
            | Self::Token { .. } => "use the tokenizer files of the checkpoint as published".into(),
            Self::LineEnd { .. } => {
                "convert its line ends, for example with `tr '\\r' '\\n'`, or use merges.txt as published".into()
            }
            Self::MergePart { .. }
            | Self::MergeTwice { .. }
            | Self::MergeOrder { .. }
            | Self::NoMerge { .. } => {
                "merges.txt is cut off, reordered or of another model: use the one published with the checkpoint"
                    .into()
            }
            Self::AddedTokens { .. } => {
                "keep the file that belongs to the checkpoint and remove the other one".into()
            }
            Self::TokenizerJson { .. } => {
                "save the slow tokenizer with transformers (`AutoTokenizer.from_pretrained(FOLDER, use_fast=False)\
                 .save_pretrained(FOLDER)`), or copy vocab.json, merges.txt and added_tokens.json of the published checkpoint"
                    .into()
            }
            Self::MissingSpecial { .. } => {
                "added_tokens.json, or `added_tokens_decoder` in tokenizer_config.json, lists it: copy the published file"
                    .into()
            }
            Self::UnknownId { .. } => "the ids may be of another model's tokenizer".into(),
            Self::NoPluginApi { .. } => {
                "those with a published API are web-search, calculator, equation-solver and text-to-image"
                    .into()
            }
            Self::TurnTooLong { .. } => "shorten the message, or the system text".into(),
            _ => return None,
        })
    }
}
