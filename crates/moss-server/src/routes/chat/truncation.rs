//! `moss.truncation: "auto"`: which of the oldest turns a long conversation goes on without.

use std::ops::Range;

use moss_text::turns_to_drop;

/// How many of the oldest turns to drop, for an answer of up to `answer` tokens.
///
/// Goes through the conversation from its beginning and applies [`turns_to_drop`] to every
/// question, as a chat at the terminal does. A request holds no memory of earlier ones; what it
/// would drop by itself would move at every turn, and each time the whole prompt would have to be
/// computed again. This way the cut stays where it is until the window is full once more.
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
        // A question that is too long by itself is for the engine to refuse.
        first += turns_to_drop(len, now - first, Some(answer), window).unwrap_or(now - first);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens of a conversation behind an instruction of 100, whose messages have 50 each.
    fn tokens(range: Range<usize>, _: bool) -> usize {
        100 + range.len() * 101 + 50
    }

    #[test]
    fn a_conversation_that_fits_keeps_all_its_turns() {
        assert_eq!(oldest_to_drop(tokens, 0, 512, 2048), 0);
        assert_eq!(oldest_to_drop(tokens, 15, 512, 2048), 0);
    }

    #[test]
    fn the_cut_stays_in_place_until_the_window_is_full_again() {
        let cuts: Vec<_> = (0..60)
            .map(|turns| oldest_to_drop(tokens, turns, 512, 2048))
            .collect();
        assert!(cuts.is_sorted());
        for (turns, cut) in cuts.iter().enumerate() {
            assert!(tokens(*cut..turns, true) <= 2048 - 256, "{turns} turns");
        }
        let moves = cuts.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((5..=15).contains(&moves), "{cuts:?}");
    }

    #[test]
    fn a_question_that_is_too_long_by_itself_drops_all_turns_and_no_more() {
        let tokens = |range: Range<usize>, is_last: bool| {
            tokens(range, is_last) + if is_last { 5000 } else { 0 }
        };
        assert_eq!(oldest_to_drop(tokens, 3, 512, 2048), 3);
    }
}
