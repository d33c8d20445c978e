//! Chunked prefill and admission: pure decisions over token and block counts.
//!
//! Every running sequence with one pending token is part of the next batch. Those with more share a
//! budget of tokens, the oldest first: chunks of several prompts fill one batch, and a long prompt
//! does not block decoding. The results of a prompt do not depend on its chunks.

/// The tokens of one sequence in a forward batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScheduledChunk {
    /// Index among the running sequences.
    pub(crate) sequence: usize,
    /// Number of tokens.
    pub(crate) tokens: usize,
}

/// Returns the next forward batch. `pending[i]` is the number of pending tokens of sequence `i`, in
/// order of admission; `prefill_chunk` is the budget of the sequences with more than one.
pub(crate) fn next_batch(pending: &[usize], prefill_chunk: usize) -> Vec<ScheduledChunk> {
    let mut left = prefill_chunk.max(1);
    let chunk = |(sequence, pending): (usize, &usize)| {
        let tokens = if *pending > 1 {
            let tokens = (*pending).min(left);
            left -= tokens;
            tokens
        } else {
            *pending
        };
        (tokens > 0).then_some(ScheduledChunk { sequence, tokens })
    };
    pending.iter().enumerate().filter_map(chunk).collect()
}

/// Returns `true` if one more sequence can be admitted: its worst-case demand of blocks, `needed`,
/// fits next to the `reserved` blocks of the running ones.
///
/// Blocks are allocated as sequences grow. The reservation guarantees that an admitted sequence
/// never waits for blocks.
pub(crate) fn admits(
    reserved: usize,
    needed: usize,
    total: usize,
    running: usize,
    max_sequences: usize,
) -> bool {
    running < max_sequences.max(1) && reserved + needed <= total
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_batch_has_every_decoding_sequence_and_prompts_up_to_the_budget() {
        let of = |pending: &[usize]| {
            let batch = next_batch(pending, 128).into_iter();
            batch
                .map(|chunk| (chunk.sequence, chunk.tokens))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&[1, 300, 1, 50]), [(0, 1), (1, 128), (2, 1)]);
        assert_eq!(
            of(&[1, 100, 1, 20, 50]),
            [(0, 1), (1, 100), (2, 1), (3, 20), (4, 8)]
        );
        assert_eq!(of(&[64, 64, 2, 1]), [(0, 64), (1, 64), (3, 1)]);
    }

    #[test]
    fn a_sequence_is_admitted_only_if_its_worst_case_demand_fits() {
        assert!(admits(100, 28, 128, 3, 4));
        assert!(!admits(101, 28, 128, 3, 4));
        assert!(!admits(0, 1, 128, 4, 4));
    }

    proptest! {
        #[test]
        fn every_batch_makes_progress_and_never_overruns(pending in prop::collection::vec(1usize..500, 1..12), prefill_chunk in 1usize..200) {
            let batch = next_batch(&pending, prefill_chunk);
            prop_assert!(!batch.is_empty());
            prop_assert!(batch.iter().all(|chunk| chunk.tokens >= 1 && chunk.tokens <= pending[chunk.sequence]));
            let prompts = batch.iter().filter(|chunk| pending[chunk.sequence] > 1);
            prop_assert!(prompts.map(|chunk| chunk.tokens).sum::<usize>() <= prefill_chunk);
            let decoding = pending.iter().filter(|tokens| **tokens == 1).count();
            prop_assert_eq!(batch.iter().filter(|chunk| pending[chunk.sequence] == 1).count(), decoding);
        }

        #[test]
        fn every_sequence_completes(mut pending in prop::collection::vec(1usize..300, 1..8), prefill_chunk in 1usize..100) {
            let mut steps = 0;
            while pending.iter().any(|tokens| *tokens > 0) {
                let active: Vec<usize> = (0..pending.len()).filter(|i| pending[*i] > 0).collect();
                let counts: Vec<usize> = active.iter().map(|i| pending[*i]).collect();
                for chunk in next_batch(&counts, prefill_chunk) {
                    pending[active[chunk.sequence]] -= chunk.tokens;
                }
                steps += 1;
                prop_assert!(steps < 5000);
            }
        }
    }
}
