//! Chunked prefill and admission: pure decisions over token and block counts.
//!
//! Every running sequence with one pending token is part of the next batch. Of those with more, the
//! oldest one processes a chunk of its prompt, so long prompts do not block decoding. Chunks of
//! further prompts join it as long as they fit whole: the chunks of a prompt depend on its request
//! alone, and a later prompt never delays an earlier one by more than the shared budget.

use crate::cache::Demand;

/// The tokens of one sequence in a forward batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScheduledChunk {
    /// Index among the running sequences.
    pub(crate) sequence: usize,
    /// Number of tokens.
    pub(crate) tokens: usize,
}

/// Returns the next forward batch. `pending[i]` is the number of pending tokens of sequence `i`, in
/// order of admission, or 0 if the sequence waits for the next batch; chunks have at most `prefill_chunk` tokens, and those of several prompts
/// together at most `shared`.
pub(crate) fn next_batch(
    pending: &[usize],
    prefill_chunk: usize,
    shared: usize,
) -> Vec<ScheduledChunk> {
    let mut prompt_tokens = 0;
    let chunk = |(sequence, pending): (usize, &usize)| {
        let tokens = (*pending).min(prefill_chunk.max(1));
        if tokens == 0 {
            return None;
        }
        if *pending > 1 {
            if prompt_tokens > 0 && prompt_tokens + tokens > shared {
                return None;
            }
            prompt_tokens += tokens;
        }
        Some(ScheduledChunk { sequence, tokens })
    };
    pending.iter().enumerate().filter_map(chunk).collect()
}

/// Returns `true` if one more sequence can be admitted: the blocks that it needs now fit next to the
/// `outstanding` ones of running prompts and a watermark, so that running replies can grow. A
/// sequence that would run alone is always admitted.
pub(crate) fn admits(
    demand: Demand,
    outstanding: usize,
    total: usize,
    running: usize,
    max_sequences: usize,
) -> bool {
    let watermark = running.max(total / 100);
    let needed = demand.needed + outstanding + watermark;
    running < max_sequences.max(1) && (running == 0 || needed <= demand.available)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(pending: &[usize], shared: usize) -> Vec<(usize, usize)> {
        let batch = next_batch(pending, 128, shared).into_iter();
        batch.map(|chunk| (chunk.sequence, chunk.tokens)).collect()
    }

    #[test]
    fn a_batch_has_every_decoding_sequence_and_the_prompts_that_fit_whole() {
        assert_eq!(of(&[1, 300, 1, 50], 128), [(0, 1), (1, 128), (2, 1)]);
        let mixed = [1, 100, 1, 20, 50, 8];
        assert_eq!(of(&mixed, 128), [(0, 1), (1, 100), (2, 1), (3, 20), (5, 8)]);
        assert_eq!(of(&[300, 300, 300], 256), [(0, 128), (1, 128)]);
    }

    #[test]
    fn without_a_shared_budget_prompts_run_one_at_a_time() {
        assert_eq!(of(&[10, 20, 1, 30], 0), [(0, 10), (2, 1)]);
    }

    #[test]
    fn a_sequence_without_pending_tokens_is_left_out() {
        assert_eq!(of(&[0, 1, 0, 50], 0), [(1, 1), (3, 50)]);
    }

    #[test]
    fn a_sequence_is_admitted_if_its_blocks_and_a_watermark_are_available() {
        let demand = |needed| Demand {
            needed,
            available: 40,
        };
        assert!(admits(demand(30), 7, 128, 3, 4));
        assert!(!admits(demand(31), 7, 128, 3, 4), "one block per sequence");
        assert!(!admits(demand(31), 0, 1000, 3, 4), "one per cent");
        assert!(!admits(demand(0), 0, 128, 4, 4));
        assert!(admits(demand(50), 0, 128, 0, 4), "alone");
    }

    proptest! {
        #[test]
        fn every_batch_makes_progress_and_never_overruns(pending in prop::collection::vec(1usize..500, 1..12), prefill_chunk in 1usize..200, shared in 0usize..400) {
            let batch = next_batch(&pending, prefill_chunk, shared);
            prop_assert!(!batch.is_empty());
            // Chunks are those of the sequence alone.
            prop_assert!(batch.iter().all(|chunk| chunk.tokens == pending[chunk.sequence].min(prefill_chunk)));
            let prompts: Vec<_> = batch.iter().filter(|chunk| pending[chunk.sequence] > 1).collect();
            let oldest = pending.iter().position(|tokens| *tokens > 1);
            prop_assert_eq!(prompts.first().map(|chunk| chunk.sequence), oldest);
            let tokens = prompts.iter().map(|chunk| chunk.tokens).sum::<usize>();
            prop_assert!(prompts.len() <= 1 || tokens <= shared);
            let decoding = pending.iter().filter(|tokens| **tokens == 1).count();
            prop_assert_eq!(batch.len() - prompts.len(), decoding);
        }

        #[test]
        fn every_sequence_completes(mut pending in prop::collection::vec(1usize..300, 1..8), prefill_chunk in 1usize..100, shared in 0usize..200) {
            let mut steps = 0;
            while pending.iter().any(|tokens| *tokens > 0) {
                let active: Vec<usize> = (0..pending.len()).filter(|i| pending[*i] > 0).collect();
                let counts: Vec<usize> = active.iter().map(|i| pending[*i]).collect();
                for chunk in next_batch(&counts, prefill_chunk, shared) {
                    pending[active[chunk.sequence]] -= chunk.tokens;
                }
                steps += 1;
                prop_assert!(steps < 5000);
            }
        }
    }
}
