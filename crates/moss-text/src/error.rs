//! What can be wrong with tokenizer files, conversations and prompts.

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

/// What is wrong with a token id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum IdFault {
    /// No token has it.
    Missing,
    /// Two tokens have it.
    Twice,
    /// It is above the number of tokens.
    TooLarge,
}

/// Errors of this crate.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum TextError {
    /// A tokenizer file is not there or cannot be read.
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[message(kind)]
        source: std::io::Error,
    },
    /// A JSON file of another form.
    Json {
        /// The file.
        file: PathBuf,
        /// What it should be.
        what: TokenizerFile,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A line of merges.txt that is not two tokens.
    Merge {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What stands there.
        found: String,
    },
    /// A merge of tokens that the vocabulary lacks, or another inconsistency.
    Bpe {
        /// The folder.
        folder: PathBuf,
        /// What the tokenizers crate says.
        reason: String,
    },
    /// A carriage return that does not belong to a line's end, as in files whose lines end in it
    /// alone.
    LineEnd {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// A merge of something that no earlier merge makes: lines are missing or in another order.
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
    /// A setting of tokenizer_config.json that would change the ids of texts.
    Unsupported {
        /// tokenizer_config.json.
        file: PathBuf,
        /// The setting.
        option: &'static str,
        /// The added token that it belongs to.
        token: Option<String>,
    },
    /// A folder with a tokenizer of the form that this program does not read.
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
        /// Number of tokens, whose ids begin at 0.
        tokens: usize,
    },
    /// Ids that are not 0, 1, 2 and so on, each once.
    Ids {
        /// The folder.
        folder: PathBuf,
        /// The id.
        id: u32,
        /// What is wrong with it.
        found: IdFault,
        /// The last id that there should be.
        last: u32,
    },
    /// A token that is not written in byte-level characters.
    Token {
        /// The folder.
        folder: PathBuf,
        /// Its id.
        id: u32,
        /// Its text.
        found: String,
    },
    /// A special token that chats need.
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
        /// What it says.
        reason: String,
    },
    /// A plugin whose call is nowhere published.
    NoPluginApi {
        /// The plugin.
        plugin: &'static str,
    },
    /// A name that is no plugin.
    UnknownPlugin {
        /// The name.
        found: String,
        /// The names there are.
        expected: Vec<String>,
    },
    /// The newest turn does not fit the window by itself.
    TurnTooLong {
        /// Tokens of the shortest prompt.
        found: usize,
        /// Tokens that the window leaves.
        allowed: usize,
    },
    /// A saved conversation of another form.
    Conversation {
        /// Where and why.
        source: serde_json::Error,
    },
    /// A saved conversation of a version that this program does not know.
    ConversationVersion {
        /// Version found.
        found: u32,
        /// Version known.
        expected: u32,
    },
}
