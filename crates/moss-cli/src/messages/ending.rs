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

/// An empty answer has a cause and what to do about it; without it, it would look like a failure.
fn ending(outcome: &Outcome, has_text: bool) -> Option<Ending> {
    let generated = outcome.usage.generated_tokens;
    let text = match &outcome.cause {
        // The user pressed Ctrl-C.
        StopCause::Cancelled => msg!("ended-cancelled"),
        StopCause::EndOfTurn | StopCause::StopString(_) if has_text => return None,
        StopCause::TimeLimit if has_text => msg!("ended-time-limit"),
        StopCause::PromptTimeLimit if has_text => msg!("ended-prompt-time"),
        StopCause::WindowFull if has_text => msg!("ended-window-full"),
        StopCause::MaxNewTokens if has_text => msg!("ended-max-tokens"),
        StopCause::TimeLimit if generated == 0 => msg!("no-answer-first-token"),
        StopCause::TimeLimit => msg!("no-answer-time-limit"),
        StopCause::PromptTimeLimit => msg!("no-answer-prompt-time"),
        StopCause::WindowFull => msg!("no-answer-window-full"),
        StopCause::MaxNewTokens => msg!("no-answer-max-tokens", generated),
        StopCause::EndOfTurn => msg!("no-answer-by-model"),
        StopCause::StopString(text) => {
            let text = text.escape_debug().to_string();
            msg!("no-answer-stop-text", text)
        }
    };
    Some(if has_text {
        Ending::Truncated(text)
    } else {
        Ending::NoText(text)
    })
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
