//! The draft tokens of one sequence.

use crate::{
    draft::{DraftIndex, Match},
    speculation::Acceptance,
};

/// The state of a sequence's drafts.
#[derive(Debug, Default)]
pub(crate) struct Drafter {
    pub(crate) index: DraftIndex,
    pub(crate) acceptance: Acceptance,
    /// The match of the last proposal.
    pub(crate) found: Option<Match>,
    /// The last ids that are drafts.
    pub(crate) count: usize,
    /// Is true if the sequence has no drafts any more.
    pub(crate) is_off: bool,
}
