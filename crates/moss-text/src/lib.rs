//! Text to token ids and back: byte-level BPE from the published files, streaming detokenization,
//! conversations, prompts, replies.
//!
//! This crate has no tensors. Token ids are `u32`, as in the `tokenizers` crate.

mod conversation;
mod error;
mod layout;
mod merges;
mod past;
mod plugins;
mod prompt;
mod reply;
mod segments;
mod special;
mod stream;
mod tokenizer;
mod traced;
mod vocab;
mod window;
#[cfg(feature = "testing")]
mod work;

pub use conversation::{Conversation, SavedTurn};
pub use error::{IdFault, TextError, TokenizerFile};
pub use layout::{Prompt, PromptLayout};
pub use past::PluginFields;
pub use plugins::{Plugin, PluginSwitches};
pub use prompt::{PromptBuilder, SystemText, Turn};
pub use reply::{
    NextRun, Outcome, Piece, Reply, ReplyText, Step, StopCause, TextMode, Timings, TokenText, Usage,
};
pub use segments::{EMPTY_PART, SegmentKind};
pub use special::SpecialTokens;
pub use stream::TextStream;
pub use tokenizer::{Specials, Tokenizer};
pub use window::turns_to_drop;
#[cfg(feature = "testing")]
pub use work::Work;
