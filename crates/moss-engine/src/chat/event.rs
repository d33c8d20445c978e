//! What the user of a chat gets to see.

use moss_text::SegmentKind;

use crate::{EngineError, Outcome};

/// What the user of a chat gets to see, in this order; exactly one last `Finished` or `Failed`.
#[derive(Debug, Clone)]
pub enum ChatEvent {
    /// So many of the oldest turns no longer fit the window.
    TurnsDropped {
        /// How many went just now.
        count: usize,
    },
    /// The answer has begun; see [`crate::Event::Started`].
    Started {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Those found in the cache.
        reused_tokens: usize,
    },
    /// See [`crate::Event::Prefill`]; comes again where a model goes on by itself after commanding
    /// nothing.
    Prefill {
        /// Tokens done.
        done: usize,
        /// Tokens in all.
        total: usize,
    },
    /// Text of one part of the answer, without labels and without white space at the part's
    /// beginning.
    Text {
        /// The part.
        kind: SegmentKind,
        /// Whole characters.
        piece: String,
    },
    /// The turn is part of the conversation now. Where the model went on by itself after commanding
    /// nothing, usage and timings are those of both parts together.
    Finished(Outcome),
    /// The answer ends here. What was said of it is part of the conversation, or the question
    /// alone, which the model is not shown again; [`crate::Chat::regenerate`] asks once more. An
    /// answer that this one was to replace stays, as do commands that wait for results.
    Failed(EngineError),
}
