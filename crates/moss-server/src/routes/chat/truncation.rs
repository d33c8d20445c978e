//! `moss.truncation: "auto"`: which of the oldest turns a long conversation goes on without.

use moss_text::{PromptBuilder, TextError, Turn, turns_to_drop};

/// Tokens of a conversation's parts. A prompt's length is a sum of these: the tokenizer never joins
/// what stands on both sides of a line break.
pub(super) struct TurnLengths {
    instruction: usize,
    /// What the user says in each turn, the last one included.
    questions: Vec<usize>,
    /// What was said to that; for the last turn, what the answer goes on from.
    replies: Vec<usize>,
}

impl TurnLengths {
    /// # Errors
    /// [`TextError::Encode`] when the tokenizers crate fails.
    pub(super) fn new(
        builder: &PromptBuilder,
        turns: &[Turn],
        user: &str,
        begun: usize,
    ) -> Result<Self, TextError> {
        let instruction = builder
            .tokenizer()
            .encode_untrusted(&builder.instruction())?
            .len();
        let users = turns.iter().map(|turn| turn.user.as_str()).chain([user]);
        let alone = |user: &str| -> Result<usize, TextError> {
            Ok(builder.prompt(&[], user)?.len().saturating_sub(instruction))
        };
        let questions = users.map(alone).collect::<Result<Vec<_>, _>>()?;
        let replies = turns
            .iter()
            .map(|turn| turn.reply.len())
            .chain([begun])
            .collect();
        Ok(Self {
            instruction,
            questions,
            replies,
        })
    }

    /// Tokens of the prompt for question `now`, with the turns from `first` on before it. A line
    /// break stands between two turns.
    fn prompt(&self, first: usize, now: usize, begun: usize) -> usize {
        let turns = (first..now).map(|turn| self.questions[turn] + self.replies[turn] + 1);
        self.instruction + turns.sum::<usize>() + self.questions[now] + begun
    }
}

/// How many of the oldest turns to drop, for an answer of up to `answer` tokens.
///
/// Goes through the conversation from its beginning and applies [`turns_to_drop`] to every
/// question, as a chat at the terminal does. A request holds no memory of earlier ones; what it
/// would drop by itself would move at every turn, and each time the whole prompt would have to be
/// computed again. This way the cut stays where it is until the window is full once more.
pub(super) fn oldest_to_drop(lengths: &TurnLengths, answer: usize, window: usize) -> usize {
    let last = lengths.questions.len() - 1;
    let mut first = 0;
    for now in 0..=last {
        let begun = if now == last {
            lengths.replies[last]
        } else {
            0
        };
        let len = |dropped: usize| Ok(lengths.prompt(first + dropped, now, begun));
        // A question that is too long by itself is for the engine to refuse.
        first += turns_to_drop(len, now - first, Some(answer), window).unwrap_or(now - first);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(turns: usize, tokens: usize) -> TurnLengths {
        TurnLengths {
            instruction: 100,
            questions: vec![tokens; turns + 1],
            replies: [vec![tokens; turns], vec![0]].concat(),
        }
    }

    #[test]
    fn a_conversation_that_fits_keeps_all_its_turns() {
        assert_eq!(oldest_to_drop(&conversation(0, 50), 512, 2048), 0);
        assert_eq!(oldest_to_drop(&conversation(15, 50), 512, 2048), 0);
    }

    #[test]
    fn the_cut_stays_in_place_until_the_window_is_full_again() {
        let cuts: Vec<_> = (0..60)
            .map(|turns| oldest_to_drop(&conversation(turns, 50), 512, 2048))
            .collect();
        assert!(cuts.is_sorted());
        for (turns, cut) in cuts.iter().enumerate() {
            let lengths = conversation(turns, 50);
            assert!(
                lengths.prompt(*cut, turns, 0) <= 2048 - 256,
                "{turns} turns"
            );
        }
        let moves = cuts.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((5..=15).contains(&moves), "{cuts:?}");
    }

    #[test]
    fn a_question_that_is_too_long_by_itself_drops_all_turns_and_no_more() {
        let mut lengths = conversation(3, 50);
        lengths.questions[3] = 5000;
        assert_eq!(oldest_to_drop(&lengths, 512, 2048), 3);
    }
}
