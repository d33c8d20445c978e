//! The draft tokens of a sequence: proposed, verified with its next token, and accepted or dropped.

use moss_model::TokenKind;
use moss_sampling::SampleRequest;

use super::Sequence;
use crate::{Speculation, draft::append_drafts, speculation::Proposal};

impl Sequence {
    /// Returns true if the next token of the reply is the only one that is computed.
    pub(crate) fn is_decoding(&self) -> bool {
        self.pending() == 1 && self.kind() == TokenKind::Generated
    }

    /// Returns what this sequence could draft, if it decodes: nothing if it needs whole rows of
    /// logits, or if its end is near.
    pub(crate) fn propose(&mut self) -> Option<Proposal> {
        let tokens_left = |most: usize| most.saturating_sub(self.generated());
        let left = self.stop.max_new_tokens.map_or(usize::MAX, tokens_left);
        let positions = self.context_length.saturating_sub(self.ids.len());
        // A token is sampled after the last draft.
        let most = left.min(positions).saturating_sub(1);
        let most = most.min(Speculation::MAX_DRAFTS);
        let is_possible = |drafts: &usize| {
            let step = self.generated() + drafts;
            self.sampler
                .request(&self.ids, step, self.allowed)
                .is_some()
        };
        let most = (0..=most).take_while(is_possible).count().checked_sub(1)?;
        let is_off = self.drafter.is_off || self.logprobs.is_some();
        if most == 0 || is_off || !self.is_decoding() {
            return None;
        }
        let found = self.drafter.index.longest_match(&self.ids)?;
        self.drafter.found = Some(found);
        let probability = self.drafter.acceptance.probability(found.len);
        Some(Proposal { most, probability })
    }

    /// Adds drafts of the last proposal to the ids. They count as pending until
    /// [`Sequence::take_drafts`].
    pub(crate) fn add_drafts(&mut self, count: usize) -> usize {
        let before = self.ids.len();
        if let Some(found) = self.drafter.found {
            append_drafts(&mut self.ids, found, count);
        }
        self.drafter.count = self.ids.len() - before;
        self.drafter.count
    }

    /// Returns the request of each row of a chunk with drafts; none without drafts.
    pub(crate) fn draft_requests(&self) -> Vec<SampleRequest<'_>> {
        let drafts = self.drafter.count;
        if drafts == 0 {
            return Vec::new();
        }
        let known = self.ids.len() - drafts;
        let request = |ahead: usize| {
            let history = &self.ids[..known + ahead];
            let step = self.generated() + ahead;
            self.sampler
                .request_ahead(history, step, self.allowed, ahead)
        };
        (0..=drafts).map_while(request).collect()
    }

    /// Removes the drafts from the ids and returns them.
    pub(crate) fn take_drafts(&mut self) -> Vec<u32> {
        let known = self.ids.len() - std::mem::take(&mut self.drafter.count);
        self.ids.split_off(known)
    }

    /// Ends the use of drafts.
    pub(crate) fn stop_drafting(&mut self) {
        self.drafter.is_off = true;
    }

    /// Counts verified drafts.
    pub(crate) fn record_drafts(&mut self, drafts: usize, accepted: usize) {
        self.usage.drafted_tokens += drafts;
        self.usage.accepted_tokens += accepted;
        if let Some(found) = self.drafter.found {
            self.drafter.acceptance.record(found.len, drafts, accepted);
        }
    }
}
