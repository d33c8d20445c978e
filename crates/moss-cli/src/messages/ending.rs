//! Why an answer ended, if its text does not show it.

use moss::{Outcome, StopCause};
use moss_messages::{Text, msg};

/// An ending that is reported.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The answer is incomplete.
    Truncated(Text),
    /// The answer has no visible text.
    NoText(Text),
}

/// Returns the ending of an answer in a chat.
pub(crate) fn ending_of_chat(outcome: &Outcome) -> Option<Text> {
    match ending(outcome, !outcome.text.trim().is_empty())? {
        Ending::Truncated(text) | Ending::NoText(text) => Some(text),
    }
}

/// Returns the ending of an answer of `generate`, which is ids if there is no tokenizer.
pub(crate) fn ending_of_generate(outcome: &Outcome, prints_ids: bool) -> Option<Ending> {
    let has_ids = prints_ids && !outcome.ids.is_empty();
    ending(outcome, has_ids || !outcome.text.trim().is_empty())
}

fn ending(outcome: &Outcome, has_text: bool) -> Option<Ending> {
    match (has_text, &outcome.cause) {
        (false, _) => Some(Ending::NoText(no_text(outcome))),
        (true, StopCause::EndOfTurn | StopCause::StopString(_)) => None,
        (true, cause) => Some(Ending::Truncated(truncated(cause))),
    }
}

fn truncated(cause: &StopCause) -> Text {
    match cause {
        StopCause::Cancelled => msg!("ended-cancelled"),
        StopCause::TimeLimit => msg!("ended-time-limit"),
        StopCause::PromptTimeLimit => msg!("ended-prompt-time"),
        StopCause::WindowFull => msg!("ended-window-full"),
        StopCause::MaxNewTokens => msg!("ended-max-tokens"),
        StopCause::EndOfTurn => msg!("ended-by-model"),
        StopCause::StopString(_) => msg!("ended-stop-text"),
    }
}

/// Returns the cause of an empty answer and what to do about it. Without it, an empty answer would
/// look like a failure.
fn no_text(outcome: &Outcome) -> Text {
    let generated = outcome.usage.generated_tokens;
    match &outcome.cause {
        // The user pressed Ctrl-C.
        StopCause::Cancelled => truncated(&outcome.cause),
        StopCause::TimeLimit if generated == 0 => msg!("no-answer-first-token"),
        StopCause::TimeLimit => msg!("no-answer-time-limit"),
        StopCause::PromptTimeLimit => msg!("no-answer-prompt-time"),
        StopCause::WindowFull => msg!("no-answer-window-full"),
        StopCause::MaxNewTokens => msg!("no-answer-max-tokens", generated),
        StopCause::EndOfTurn => msg!("no-answer-by-model"),
        StopCause::StopString(text) => {
            msg!(
                "no-answer-stop-text",
                text = text.escape_debug().to_string()
            )
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use moss::engine::{Timings, Usage};

    use moss_messages::Language;

    use super::*;

    fn outcome(cause: StopCause, text: &str, generated_tokens: usize) -> Outcome {
        Outcome {
            cause,
            ids: vec![7; generated_tokens],
            text: text.into(),
            usage: Usage {
                generated_tokens,
                ..Usage::default()
            },
            timings: Timings::default(),
        }
    }

    #[test]
    fn an_answer_without_text_has_a_reason_in_both_languages() {
        let cases = [
            (
                StopCause::TimeLimit,
                0,
                "before the first token",
                "第一个词元之前",
            ),
            (
                StopCause::TimeLimit,
                2,
                "time limit was reached before any text",
                "产生文本之前",
            ),
            (StopCause::WindowFull, 0, "context window", "上下文窗口"),
            (
                StopCause::MaxNewTokens,
                1,
                "after 1 token(s)",
                "--max-new-tokens",
            ),
            (
                StopCause::EndOfTurn,
                1,
                "immediately, without text",
                "立即结束",
            ),
            (
                StopCause::StopString("\u{1b}x".into()),
                1,
                "\"\\u{1b}x\"",
                "停止文本",
            ),
            (StopCause::Cancelled, 0, "(stopped)", "（已停止）"),
        ];
        for (cause, tokens, en, zh) in cases {
            for text in ["", " \n"] {
                let outcome = outcome(cause.clone(), text, tokens);
                let why = ending_of_chat(&outcome).unwrap();
                assert!(Language::En.text(&why).contains(en), "{cause:?}: {why:?}");
                assert!(Language::Zh.text(&why).contains(zh), "{cause:?}: {why:?}");
            }
        }
    }

    #[test]
    fn a_complete_answer_has_no_note_and_ids_count_as_text() {
        assert!(ending_of_chat(&outcome(StopCause::EndOfTurn, "yes", 2)).is_none());
        assert!(matches!(
            ending(&outcome(StopCause::TimeLimit, "yes", 2), true),
            Some(Ending::Truncated(_))
        ));
        let ids = outcome(StopCause::MaxNewTokens, "", 2);
        assert!(matches!(
            ending_of_generate(&ids, true),
            Some(Ending::Truncated(_))
        ));
        assert!(matches!(
            ending_of_generate(&ids, false),
            Some(Ending::NoText(_))
        ));
    }
}
