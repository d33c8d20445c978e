//! Text to token ids and back: byte-level BPE from the published files, streaming decode,
//! conversations, prompts.
//!
//! No tensors here. Token ids are plain `u32`, as in the `tokenizers` crate.

mod alignment;
mod conversation;
mod error;
mod layout;
mod merges;
mod past;
mod plugins;
mod prompt;
mod segments;
mod special;
mod stream;
mod tokenizer;
mod vocab;
mod window;

pub use alignment::{AlignedToken, TokenAlignment};
pub use conversation::{Conversation, SavedTurn};
pub use error::TextError;
pub use layout::{Prompt, PromptLayout};
pub use past::PluginFields;
pub use plugins::{Plugin, PluginSwitches};
pub use prompt::{PromptBuilder, SystemText, Turn};
pub use segments::{EMPTY_PART, SegmentKind, SegmentStream, SegmentText};
pub use special::SpecialTokens;
pub use stream::TextStream;
pub use tokenizer::{Specials, Tokenizer};
pub use window::turns_to_drop;
