//! Errors of tokenizer files, conversations and prompts.

use std::path::PathBuf;

use moss_messages::Message;

/// A JSON file of a tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum TokenizerFile {
    /// `vocab.json`.
    Vocabulary,
    /// `added_tokens.json`.
    AddedTokens,
    /// `tokenizer_config.json`.
    Config,
    /// `special_tokens_map.json`.
    SpecialTokens,
}

/// A fault of a token id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum IdFault {
    /// No token has it.
    Missing,
    /// Two tokens have it.
    Twice,
    /// It is not below the number of tokens.
    TooLarge,
}

/// Errors of this crate.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum TextError {
    /// A tokenizer file is missing or cannot be read.
    Read {
        /// The file.
        file: PathBuf,
        /// The system's error.
        #[message(kind)]
        source: std::io::Error,
    },
    /// A JSON file that cannot be parsed.
    Json {
        /// The file.
        file: PathBuf,
        /// The role of the file.
        what: TokenizerFile,
        /// The parser's error, with line and column.
        source: serde_json::Error,
    },
    /// A line of merges.txt that is not two tokens.
    Merge {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The start of the line.
        found: String,
    },
    /// A merge with a token that the vocabulary lacks.
    MergeToken {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The token.
        token: String,
    },
    /// Files that the tokenizers crate rejects.
    Bpe {
        /// The folder.
        folder: PathBuf,
        /// The message of the tokenizers crate.
        reason: String,
    },
    /// A carriage return without a line feed.
    LineEnd {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// A merge of a token that no earlier merge produces: lines are missing or in another order.
    MergePart {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The two tokens.
        found: String,
        /// The one that no earlier line produces.
        part: String,
    },
    /// A pair that two lines merge.
    MergeTwice {
        /// The file.
        file: PathBuf,
        /// The second line, from 1.
        line: usize,
        /// The two tokens.
        found: String,
    },
    /// A merge after one of a higher token id, in a vocabulary whose ids are in the order of its
    /// merges.
    MergeOrder {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The token that it produces.
        id: u32,
        /// The token that the previous merge produces.
        before: u32,
    },
    /// A token of several bytes that no merge produces, so it would never be used.
    NoMerge {
        /// merges.txt.
        file: PathBuf,
        /// The first such token.
        id: u32,
        /// Its text.
        found: String,
        /// The number of such tokens.
        count: usize,
    },
    /// A byte without a token: tokenization would drop it.
    MissingByte {
        /// The folder.
        folder: PathBuf,
        /// The byte.
        byte: u8,
    },
    /// The two lists of added tokens differ.
    AddedTokens {
        /// The folder.
        folder: PathBuf,
        /// The token's text in `added_tokens_decoder`.
        decoder: String,
        /// Its id there.
        decoder_id: u32,
        /// The token's text in the other file.
        listed: String,
        /// Its id there.
        listed_id: u32,
    },
    /// A setting of tokenizer_config.json that would change the token ids of texts.
    Unsupported {
        /// tokenizer_config.json.
        file: PathBuf,
        /// The setting.
        option: &'static str,
        /// The added token that has it.
        token: Option<String>,
    },
    /// A folder whose tokenizer has another format.
    TokenizerJson {
        /// tokenizer.json.
        file: PathBuf,
    },
    /// A token id without a token.
    UnknownId {
        /// Index in the list.
        position: usize,
        /// The id.
        id: u32,
        /// The number of tokens; their ids start at 0.
        tokens: usize,
    },
    /// Ids that are not 0, 1, 2 and so on, each once.
    Ids {
        /// The folder.
        folder: PathBuf,
        /// The id.
        id: u32,
        /// The fault.
        found: IdFault,
        /// The last id expected.
        last: u32,
    },
    /// A token with a character outside the byte-level alphabet.
    Token {
        /// The folder.
        folder: PathBuf,
        /// Its id.
        id: u32,
        /// Its text.
        found: String,
    },
    /// A tokenizer without a special token that conversations need.
    MissingSpecial {
        /// The folder.
        folder: PathBuf,
        /// The token.
        name: &'static str,
    },
    /// The tokenizers crate failed.
    Encode {
        /// Length of the text.
        bytes: usize,
        /// Its message.
        reason: String,
    },
    /// A plugin whose API was never published.
    NoPluginApi {
        /// The plugin.
        plugin: &'static str,
    },
    /// A name that is not that of a plugin.
    UnknownPlugin {
        /// The name.
        found: String,
        /// The names of the plugins.
        expected: Vec<String>,
    },
    /// The newest turn alone exceeds the context length.
    TurnTooLong {
        /// Tokens of the shortest prompt.
        found: usize,
        /// The most tokens of a prompt.
        allowed: usize,
    },
    /// A file that is not a saved conversation.
    Conversation {
        /// The parser's error, with line and column.
        source: serde_json::Error,
    },
    /// A saved conversation in an unsupported version of the format.
    ConversationVersion {
        /// The version found.
        found: u32,
        /// The supported version.
        expected: u32,
    },
}
