//! The special tokens of a MOSS conversation.

/// The tokens that are always special, regardless of the tokenizer files.
pub(crate) const NAMES: [&str; 6] = ["<|endoftext|>", "<eoh>", "<eom>", "<eot>", "<eoc>", "<eor>"];

/// Ids of the special tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialTokens {
    /// `<|endoftext|>`, which MOSS never generates.
    pub end_of_text: Option<u32>,
    /// `<eoh>`: end of the user's message.
    pub eoh: u32,
    /// `<eom>`: end of MOSS's answer, and of the turn.
    pub eom: u32,
    /// `<eot>`: end of inner thoughts.
    pub eot: Option<u32>,
    /// `<eoc>`: end of commands.
    pub eoc: Option<u32>,
    /// `<eor>`: end of results.
    pub eor: Option<u32>,
}
