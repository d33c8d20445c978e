//! The tokens that structure a MOSS conversation.

/// The tokens of the published tokenizers that are never part of a text, whatever the files around
/// them say.
pub(crate) const NAMES: [&str; 6] = ["<|endoftext|>", "<eoh>", "<eom>", "<eot>", "<eoc>", "<eor>"];

/// Ids of the special tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialTokens {
    /// `<|endoftext|>`, which MOSS itself never writes.
    pub end_of_text: Option<u32>,
    /// `<eoh>`: end of the human's words.
    pub eoh: u32,
    /// `<eom>`: end of MOSS's words, and of the turn.
    pub eom: u32,
    /// `<eot>`: end of inner thoughts.
    pub eot: Option<u32>,
    /// `<eoc>`: end of commands.
    pub eoc: Option<u32>,
    /// `<eor>`: end of results.
    pub eor: Option<u32>,
}
