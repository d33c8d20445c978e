//! `moss.truncation: "auto"`: the number of oldest turns to drop from a long conversation.

use std::ops::Range;

use moss_text::turns_to_drop;

/// Returns the number of oldest turns to drop, for an answer of up to `answer` tokens.
///
/// Replays the conversation from its beginning and applies [`turns_to_drop`] to every question, as
/// a chat at the terminal does. Requests are stateless; if each dropped only what it needs, the
/// first kept turn would change with every request, and the whole prompt would be prefilled again.
/// With the replay, the first kept turn stays the same until the context window is full again.
///
/// `tokens` is [`moss_text::PromptLayout::tokens`].
pub(super) fn oldest_to_drop(
    tokens: impl Fn(Range<usize>, bool) -> usize,
    turns: usize,
    answer: usize,
    window: usize,
) -> usize {
    let mut first = 0;
    for now in 0..=turns {
        let len = |dropped: usize| Ok(tokens(first + dropped..now, now == turns));
        // The engine rejects a question that is too long on its own.
        first += turns_to_drop(len, now - first, Some(answer), window).unwrap_or(now - first);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens of a conversation with a system prompt of 100 tokens and messages of 50 tokens each.
    fn tokens(range: Range<usize>, _: bool) -> usize {
        100 + range.len() * 101 + 50
    }

    #[test]
    fn a_conversation_that_fits_keeps_all_its_turns() {
        assert_eq!(oldest_to_drop(tokens, 0, 512, 2048), 0);
        assert_eq!(oldest_to_drop(tokens, 15, 512, 2048), 0);
    }

    #[test]
    fn the_first_kept_turn_stays_the_same_until_the_context_is_full_again() {
        let dropped: Vec<_> = (0..60)
            .map(|turns| oldest_to_drop(tokens, turns, 512, 2048))
            .collect();
        assert!(dropped.is_sorted());
        for (turns, first) in dropped.iter().enumerate() {
            assert!(tokens(*first..turns, true) <= 2048 - 256, "{turns} turns");
        }
        let moves = dropped.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((5..=15).contains(&moves), "{dropped:?}");
    }

    #[test]
    fn a_question_that_is_too_long_by_itself_drops_all_turns_and_no_more() {
        let tokens = |range: Range<usize>, is_last: bool| {
            tokens(range, is_last) + if is_last { 5000 } else { 0 }
        };
        assert_eq!(oldest_to_drop(tokens, 3, 512, 2048), 3);
    }
}
