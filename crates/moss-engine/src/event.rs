//! Events of a request.
//!
//! The order of the events of one request is: [`Event::Started`], any number of
//! [`Event::Prefill`], any number of [`Event::Text`], then exactly one of [`Event::Finished`] and
//! [`Event::Failed`]. A request that is cancelled or fails in the queue has only the last one.

use moss_text::{Outcome, SegmentKind, TokenText};

use crate::EngineError;

/// An event of a request.
#[derive(Debug, Clone)]
pub enum Event {
    /// The oldest turns of a chat no longer fit the context length. Only chats have this event.
    TurnsDropped {
        /// The number of turns that were dropped.
        count: usize,
    },
    /// The request was admitted.
    Started {
        /// Tokens of its prompt.
        prompt_tokens: usize,
        /// Those whose keys and values are in the cache.
        reused_tokens: usize,
    },
    /// A chunk of the prompt has been processed.
    Prefill {
        /// Tokens of the prompt that have been processed.
        done: usize,
        /// Tokens of the prompt.
        total: usize,
    },
    /// A token was generated, or text that was held back is released.
    Text {
        /// The token; `None` for text that is released at the end.
        id: Option<u32>,
        /// The part of the reply that the text belongs to.
        kind: SegmentKind,
        /// The characters that the token completes, without labels; may be empty.
        piece: String,
        /// The tokens of the text, if the request has `align`.
        tokens: Vec<TokenText>,
        /// Log-probabilities, if the request has `logprobs`.
        logprobs: Option<Box<TokenLogprobs>>,
    },
    /// The request has ended.
    Finished(Outcome),
    /// The request has failed.
    Failed(EngineError),
}

/// Log-probabilities: natural logarithms of the softmax over the ids that may be sampled, before
/// any logits processor.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// That of the sampled token.
    pub logprob: f32,
    /// Those of the most likely tokens, in descending order.
    pub top: Vec<(u32, f32)>,
}
