//! Admission of waiting requests, and preemption of running ones.

use moss_model::ModelError;
use moss_text::Tokenizer;

use super::Worker;
use crate::{
    Vocabulary,
    cache::SequenceBlocks,
    command::Job,
    scheduler::{self, ScheduledChunk},
    sequence::Sequence,
    sync::atomic::Ordering::Relaxed,
    waiting::Waiting,
};

impl Worker {
    /// Admits waiting requests, their owners in turn, while their blocks are available.
    pub(super) fn admit(&mut self) {
        while let Some(next) = self.waiting.peek() {
            if !self.can_admit(next) {
                return;
            }
            let Some(next) = self.waiting.pop() else {
                return;
            };
            self.counters.waiting.fetch_sub(1, Relaxed);
            let ahead = self.running.iter().map(Sequence::pending).sum();
            let sequence = match next {
                Waiting::New(job) => self.start(*job, ahead),
                Waiting::Preempted(mut sequence) => {
                    sequence.resume(ahead);
                    *sequence
                }
            };
            let admission = sequence.admission;
            let index = self
                .running
                .partition_point(|other| other.admission < admission);
            self.running.insert(index, sequence);
        }
    }

    fn can_admit(&self, next: &Waiting) -> bool {
        let demand = self.cache.demand(&next.scope(), next.ids());
        let outstanding =
            |sequence: &Sequence| self.cache.outstanding(&sequence.blocks, &sequence.ids);
        scheduler::admits(
            demand,
            self.running.iter().map(outstanding).sum(),
            self.cache.shape().num_blocks,
            self.running.len(),
            self.options.max_sequences,
        )
    }

    fn start(&mut self, job: Job, ahead: usize) -> Sequence {
        let mut blocks = SequenceBlocks::new(job.request.scope());
        let reused = self.cache.reuse(&mut blocks, &job.request.prompt);
        let is_request = !job.request.is_follow_up;
        self.counters.count_reuse(reused, is_request);
        if is_request {
            self.counters.queue_time.record(job.submitted.elapsed());
        }
        let rows = self.model.config().vocab_size;
        let allowed = match job.request.vocabulary {
            Vocabulary::RealTokens => self.tokenizer.as_ref().map_or(rows, Tokenizer::vocab_size),
            Vocabulary::EveryRow => rows,
        };
        let positions = self.cache.shape().positions();
        let context_length = self.model.config().context_length.min(positions);
        let (tokenizer, admission) = (self.tokenizer.as_ref(), self.admitted);
        self.admitted += 1;
        Sequence::start(
            job,
            tokenizer,
            allowed,
            context_length,
            blocks,
            admission,
            ahead,
        )
    }

    /// Allocates the blocks of `chunks`. If too few are left, drafts are dropped; then the newest
    /// sequences are preempted, and their chunks are removed.
    ///
    /// # Errors
    /// The index of a sequence that has no room even alone.
    pub(super) fn allocate(
        &mut self,
        chunks: &mut Vec<ScheduledChunk>,
    ) -> Result<(), (usize, ModelError)> {
        let mut next = 0;
        while let Some(chunk) = chunks.get(next) {
            let sequence = &mut self.running[chunk.sequence];
            let Err(full) = self.cache.grow(&mut sequence.blocks, chunk.tokens) else {
                next += 1;
                continue;
            };
            if self.drop_drafts(chunks) {
                continue;
            }
            let newest = self.running.len() - 1;
            if newest == 0 {
                return Err((0, full));
            }
            self.preempt(newest);
            chunks.retain(|chunk| chunk.sequence != newest);
        }
        Ok(())
    }

    /// Returns a sequence to the head of the queue.
    fn preempt(&mut self, index: usize) {
        let sequence = self.running.remove(index).preempt(&mut self.cache);
        self.counters.preemptions.fetch_add(1, Relaxed);
        self.counters.waiting.fetch_add(1, Relaxed);
        let owner = sequence.owner.clone();
        self.waiting
            .push_preempted(&owner, Waiting::Preempted(Box::new(sequence)));
    }
}
