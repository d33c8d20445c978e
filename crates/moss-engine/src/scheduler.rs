//! The plan of a step: pure decisions over token and block counts.
//!
//! Every running reply is part of every step. Prompts share a budget of tokens, in order of
//! admission: the oldest one continues first, and what it leaves is for the next one. Chunking
//! changes no bit of a reply (batch invariance).

use crate::cache::Demand;

/// The tokens that a running sequence could process in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    /// The last token of a reply, with its draft tokens: always processed.
    Reply(usize),
    /// A prompt, or tokens that are computed again: any part of it, within the budget.
    Prompt(usize),
    /// A prompt that waits for a block that another sequence computes.
    Waiting,
}

/// The tokens of one sequence in a forward batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScheduledChunk {
    /// Index among the running sequences.
    pub(crate) sequence: usize,
    /// Number of tokens.
    pub(crate) tokens: usize,
}

/// Returns the number of generated tokens in a step.
pub(crate) fn reply_rows(pending: &[Pending]) -> usize {
    let rows = pending.iter().map(|pending| match pending {
        Pending::Reply(tokens) => *tokens,
        Pending::Prompt(_) | Pending::Waiting => 0,
    });
    rows.sum()
}

/// Returns the number of prompts that do not wait, and the tokens of the oldest one.
pub(crate) fn prompts(pending: &[Pending]) -> (usize, usize) {
    let mut prompts = pending.iter().filter_map(|pending| match pending {
        Pending::Prompt(tokens) => Some(*tokens),
        Pending::Reply(_) | Pending::Waiting => None,
    });
    let first = prompts.next();
    first.map_or((0, 0), |first| (1 + prompts.count(), first))
}

/// Returns the chunks of the next step, at most one per sequence, in their order. `pending[i]` is of
/// sequence `i`, in order of admission. Prompts have at most `budget` tokens together; without
/// replies, at least one.
pub(crate) fn plan(pending: &[Pending], budget: usize) -> Vec<ScheduledChunk> {
    let mut left = match reply_rows(pending) {
        0 => budget.max(1),
        _ => budget,
    };
    let chunk = |(sequence, pending): (usize, &Pending)| {
        let tokens = match *pending {
            Pending::Reply(tokens) => tokens,
            Pending::Prompt(tokens) => {
                let tokens = tokens.min(left);
                left -= tokens;
                tokens
            }
            Pending::Waiting => 0,
        };
        (tokens > 0).then_some(ScheduledChunk { sequence, tokens })
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
#[allow(clippy::unwrap_used)]
mod starvation;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Pending::{Prompt, Reply, Waiting};
    use super::*;

    fn of(pending: &[Pending], budget: usize) -> Vec<(usize, usize)> {
        let chunks = plan(pending, budget).into_iter();
        chunks.map(|chunk| (chunk.sequence, chunk.tokens)).collect()
    }

    #[test]
    fn a_step_has_every_reply_and_prompts_in_order_within_the_budget() {
        let pending = [Reply(1), Prompt(300), Reply(4), Prompt(50)];
        assert_eq!(of(&pending, 128), [(0, 1), (1, 128), (2, 4)]);
        assert_eq!(of(&pending, 320), [(0, 1), (1, 300), (2, 4), (3, 20)]);
        assert_eq!((reply_rows(&pending), prompts(&pending)), (5, (2, 300)));
    }

    #[test]
    fn a_prompt_of_one_token_counts_too() {
        assert_eq!(
            of(&[Prompt(1), Reply(1), Prompt(1), Prompt(1)], 2),
            [(0, 1), (1, 1), (2, 1)]
        );
    }

    #[test]
    fn without_a_budget_replies_run_alone_but_a_prompt_alone_continues() {
        assert_eq!(of(&[Prompt(9), Reply(1)], 0), [(1, 1)]);
        assert_eq!(of(&[Prompt(9), Prompt(9)], 0), [(0, 1)]);
    }

    #[test]
    fn a_waiting_prompt_leaves_the_budget_to_the_next_one() {
        assert_eq!(of(&[Waiting, Prompt(9)], 4), [(1, 4)]);
        assert_eq!(prompts(&[Waiting, Prompt(9)]), (1, 9));
        assert_eq!(prompts(&[Waiting, Reply(1)]), (0, 0));
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

    fn pending() -> impl Strategy<Value = Pending> {
        prop_oneof![
            (1usize..9).prop_map(Reply),
            (1usize..500).prop_map(Prompt),
            Just(Waiting)
        ]
    }

    proptest! {
        #[test]
        fn a_step_keeps_its_budget_and_the_order_of_admission(pending in prop::collection::vec(pending(), 1..12), budget in 0usize..600) {
            let chunks = plan(&pending, budget);
            prop_assert!(chunks.is_sorted_by_key(|chunk| chunk.sequence));
            let tokens_of = |sequence: usize| chunks.iter().find(|chunk| chunk.sequence == sequence).map_or(0, |chunk| chunk.tokens);
            let mut used = 0;
            let mut incomplete = false;
            for (sequence, pending) in pending.iter().enumerate() {
                match *pending {
                    Reply(tokens) => prop_assert_eq!(tokens_of(sequence), tokens),
                    Waiting => prop_assert_eq!(tokens_of(sequence), 0),
                    Prompt(tokens) => {
                        let scheduled = tokens_of(sequence);
                        prop_assert!(scheduled <= tokens);
                        // No later prompt overtakes an earlier one.
                        prop_assert!(!incomplete || scheduled == 0);
                        incomplete |= scheduled < tokens;
                        used += scheduled;
                    }
                }
            }
            let budget = if reply_rows(&pending) == 0 { budget.max(1) } else { budget };
            prop_assert!(used <= budget);
            // The budget is used up while prompts are left.
            prop_assert!(!incomplete || used == budget);
        }

        #[test]
        fn every_prompt_completes_in_order(mut left in prop::collection::vec(1usize..300, 1..8), budget in 1usize..200) {
            let tokens: usize = left.iter().sum();
            for _ in 0..tokens.div_ceil(budget) {
                let pending: Vec<_> = left.iter().map(|tokens| if *tokens == 0 { Reply(1) } else { Prompt(*tokens) }).collect();
                for chunk in plan(&pending, budget) {
                    left[chunk.sequence] = left[chunk.sequence].saturating_sub(chunk.tokens);
                }
            }
            prop_assert_eq!(left.iter().sum::<usize>(), 0);
        }
    }
}
