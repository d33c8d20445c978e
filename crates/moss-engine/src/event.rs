//! What a request's owner gets to see.
//!
//! Order, for each request on a channel of its own: [`Event::Started`], any number of
//! [`Event::Prefill`], any number of [`Event::Text`], then exactly one of [`Event::Finished`] and
//! [`Event::Failed`]. A request that is cancelled or fails while it waits has only the last.

use moss_text::{Outcome, SegmentKind, TokenText};

use crate::EngineError;

/// One step of a request's life.
#[derive(Debug, Clone)]
pub enum Event {
    /// So many of a chat's oldest turns no longer fit the window, as of now. Chats alone have it.
    TurnsDropped {
        /// How many went.
        count: usize,
    },
    /// The request runs.
    Started {
        /// Tokens of its prompt.
        prompt_tokens: usize,
        /// Those whose keys and values were in the cache already.
        reused_tokens: usize,
    },
    /// A chunk of the prompt is done.
    Prefill {
        /// Tokens of the prompt that are done.
        done: usize,
        /// Tokens of the prompt.
        total: usize,
    },
    /// A token was generated, or text that was held back is released.
    Text {
        /// The token; none for text that is released at the end.
        id: Option<u32>,
        /// The part of the reply that the text belongs to.
        kind: SegmentKind,
        /// Whole characters that the token completes, without labels; may be empty.
        piece: String,
        /// The tokens of the text, where the request asks for them.
        tokens: Vec<TokenText>,
        /// How likely the model held the token to be, where the request asks for it.
        logprobs: Option<Box<TokenLogprobs>>,
    },
    /// The answer is complete.
    Finished(Outcome),
    /// There is no answer.
    Failed(EngineError),
}

/// How likely the model held a token to be: natural logarithms of probabilities over the ids that
/// may be drawn, before any filter.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// Of the token that was drawn.
    pub logprob: f32,
    /// The likeliest tokens, as many as the request asks for, the likeliest first.
    pub top: Vec<(u32, f32)>,
}
