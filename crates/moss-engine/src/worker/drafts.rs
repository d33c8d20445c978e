//! Draft tokens of a forward batch.

use super::Worker;
use crate::{scheduler::ScheduledChunk, sync::atomic::Ordering::Relaxed};

impl Worker {
    /// Adds draft tokens to the chunks of generated tokens.
    pub(super) fn add_drafts(&mut self, chunks: &mut [ScheduledChunk]) {
        let running = &mut self.running;
        let decoding = |chunk: &&mut ScheduledChunk| running[chunk.sequence].is_decoding();
        let mut decoding: Vec<_> = chunks.iter_mut().filter(decoding).collect();
        if !self.speculator.is_possible(decoding.len()) {
            return;
        }
        let chunks = decoding.iter();
        let proposals: Vec<_> = chunks
            .map(|chunk| running[chunk.sequence].propose())
            .collect();
        let drafts = self.speculator.choose(&proposals);
        if drafts == 0 {
            return;
        }
        for (chunk, proposal) in decoding.iter_mut().zip(proposals) {
            if let Some(proposal) = proposal {
                let sequence = &mut running[chunk.sequence];
                chunk.tokens += sequence.add_drafts(drafts.min(proposal.most));
            }
        }
    }

    /// Removes all drafts before their batch runs. Returns `false` if there were none.
    pub(super) fn drop_drafts(&mut self, chunks: &mut [ScheduledChunk]) -> bool {
        let mut dropped = 0;
        for chunk in chunks {
            let drafts = self.running[chunk.sequence].take_drafts().len();
            chunk.tokens -= drafts;
            dropped += drafts;
        }
        dropped > 0
    }

    /// Ends the use of drafts in the sequences of a batch that failed: inf or NaN may be those of a
    /// draft that plain decoding would not compute.
    pub(super) fn stop_drafting(&mut self, drafts: &[Vec<u32>]) {
        for (sequence, drafts) in self.running.iter_mut().zip(drafts) {
            if !drafts.is_empty() {
                sequence.stop_drafting();
            }
        }
    }

    /// Counts the verified drafts of a sequence.
    pub(super) fn count_drafts(&mut self, sequence: usize, drafts: usize, accepted: usize) {
        if drafts == 0 {
            return;
        }
        self.running[sequence].record_drafts(drafts, accepted);
        self.counters
            .drafted_tokens
            .fetch_add(drafts as u64, Relaxed);
        self.counters
            .accepted_tokens
            .fetch_add(accepted as u64, Relaxed);
    }
}
