//! Chunked prefill and admission: pure decisions over token and block counts.
//!
//! Every running sequence with one pending token is part of the next batch. Of those with more, the
//! oldest one processes a chunk of its prompt, so long prompts do not block decoding. The chunks of
//! a prompt depend on its request alone.

/// The tokens of one sequence in a forward batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScheduledChunk {
    /// Index among the running sequences.
    pub(crate) sequence: usize,
    /// Number of tokens.
    pub(crate) tokens: usize,
}

/// Returns the next forward batch. `pending[i]` is the number of pending tokens of sequence `i`, in
/// order of admission.
pub(crate) fn next_batch(pending: &[usize], prefill_chunk: usize) -> Vec<ScheduledChunk> {
    let prompt = pending.iter().position(|tokens| *tokens > 1);
    let chunk = |(sequence, tokens): (usize, &usize)| match *tokens {
        1 => Some(ScheduledChunk {
            sequence,
            tokens: 1,
        }),
        tokens if Some(sequence) == prompt => Some(ScheduledChunk {
            sequence,
            tokens: tokens.min(prefill_chunk.max(1)),
        }),
        _ => None,
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
    fn a_batch_has_one_prompt_chunk_and_every_decoding_sequence() {
        let batch = next_batch(&[1, 300, 1, 50], 128);
        let expected = [(0, 1), (1, 128), (2, 1)]
            .map(|(sequence, tokens)| ScheduledChunk { sequence, tokens });
        assert_eq!(batch, expected);
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
            prop_assert!(batch.iter().filter(|chunk| chunk.tokens > 1).count() <= 1);
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
