//! Who runs next: pure decisions over counts.
//!
//! Every running sequence that has one token to run joins the step; of those that have more, the
//! oldest runs one chunk of its prompt, so that long prompts do not hold up the others. How a
//! prompt is cut depends on the request alone.

/// What a step runs: for each sequence, how many of its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Index among the running sequences.
    pub(crate) sequence: usize,
    /// Tokens to run.
    pub(crate) tokens: usize,
}

/// `pending[i]` is how many tokens sequence `i`, in order of admission, has yet to run.
pub(crate) fn next_step(pending: &[usize], prefill_chunk: usize) -> Vec<Turn> {
    let prompt = pending.iter().position(|tokens| *tokens > 1);
    let turn = |(sequence, tokens): (usize, &usize)| match *tokens {
        1 => Some(Turn {
            sequence,
            tokens: 1,
        }),
        tokens if Some(sequence) == prompt => Some(Turn {
            sequence,
            tokens: tokens.min(prefill_chunk.max(1)),
        }),
        _ => None,
    };
    pending.iter().enumerate().filter_map(turn).collect()
}

/// Whether one more sequence can run to its end beside the others, come what may.
///
/// `promised` are the blocks that those running may come to need. Blocks are taken only as
/// sequences grow, but a sequence is let in only if its longest course fits too: none ever waits in
/// the middle of its answer.
pub(crate) fn admits(
    promised: usize,
    needed: usize,
    total: usize,
    running: usize,
    max_sequences: usize,
) -> bool {
    running < max_sequences.max(1) && promised + needed <= total
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_prompt_chunk_runs_beside_all_that_decode() {
        let step = next_step(&[1, 300, 1, 50], 128);
        let expected =
            [(0, 1), (1, 128), (2, 1)].map(|(sequence, tokens)| Turn { sequence, tokens });
        assert_eq!(step, expected);
    }

    #[test]
    fn a_sequence_is_let_in_only_if_its_longest_course_fits() {
        assert!(admits(100, 28, 128, 3, 4));
        assert!(!admits(101, 28, 128, 3, 4));
        assert!(!admits(0, 1, 128, 4, 4));
    }

    proptest! {
        #[test]
        fn every_step_makes_progress_and_never_overruns(pending in prop::collection::vec(1usize..500, 1..12), chunk in 1usize..200) {
            let step = next_step(&pending, chunk);
            prop_assert!(!step.is_empty());
            prop_assert!(step.iter().all(|turn| turn.tokens >= 1 && turn.tokens <= pending[turn.sequence]));
            prop_assert!(step.iter().filter(|turn| turn.tokens > 1).count() <= 1);
        }

        #[test]
        fn every_sequence_is_done_in_the_end(mut pending in prop::collection::vec(1usize..300, 1..8), chunk in 1usize..100) {
            let mut steps = 0;
            while pending.iter().any(|tokens| *tokens > 0) {
                let active: Vec<usize> = (0..pending.len()).filter(|i| pending[*i] > 0).collect();
                let counts: Vec<usize> = active.iter().map(|i| pending[*i]).collect();
                for turn in next_step(&counts, chunk) {
                    pending[active[turn.sequence]] -= turn.tokens;
                }
                steps += 1;
                prop_assert!(steps < 5000);
            }
        }
    }
}
