//! Why an answer ended, where that is not obvious from its text.

use moss::{Outcome, StopCause};

/// An ending that is worth a note.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending<'a> {
    /// An answer was cut short.
    Cut(&'a StopCause),
    /// An answer has no visible text at all.
    NoText(&'a Outcome),
}

impl<'a> Ending<'a> {
    /// The ending of a chat's answer.
    pub(crate) fn of_chat(outcome: &'a Outcome) -> Option<Self> {
        Self::of(outcome, !outcome.text.trim().is_empty())
    }

    /// The ending of an answer that is text, or ids where there is no tokenizer.
    pub(crate) fn of_generate(outcome: &'a Outcome, prints_ids: bool) -> Option<Self> {
        Self::of(
            outcome,
            !outcome.text.trim().is_empty() || (prints_ids && !outcome.ids.is_empty()),
        )
    }

    fn of(outcome: &'a Outcome, has_text: bool) -> Option<Self> {
        match (has_text, &outcome.cause) {
            (false, _) => Some(Self::NoText(outcome)),
            (true, StopCause::EndOfTurn | StopCause::StopString(_)) => None,
            (true, cause) => Some(Self::Cut(cause)),
        }
    }

    pub(super) fn texts(self) -> (String, String) {
        match self {
            Self::Cut(cause) => cut(cause),
            Self::NoText(outcome) => no_text(outcome),
        }
    }
}

fn cut(cause: &StopCause) -> (String, String) {
    let (en, zh) = match cause {
        StopCause::Cancelled => ("(stopped)", "（已停止）"),
        StopCause::TimeLimit => ("(the time limit has passed)", "（已到时间上限）"),
        StopCause::PromptTimeLimit => (
            "(the prompt was not processed within its time limit)",
            "（处理输入已超过时间上限）",
        ),
        StopCause::WindowFull => ("(the context window is full)", "（上下文窗口已满）"),
        StopCause::MaxNewTokens => (
            "(as long as --max-new-tokens allows)",
            "（已到 --max-new-tokens 上限）",
        ),
        StopCause::EndOfTurn => ("(the model ended its answer)", "（模型结束了回答）"),
        StopCause::StopString(_) => ("(a stop text was reached)", "（遇到停止文本）"),
    };
    (en.into(), zh.into())
}

/// An empty answer looks like a failure, so that each says its cause and a way out.
fn no_text(outcome: &Outcome) -> (String, String) {
    let generated = outcome.usage.generated_tokens;
    let (en, zh) = match &outcome.cause {
        // Whoever pressed Ctrl-C knows why.
        StopCause::Cancelled => return cut(&outcome.cause),
        StopCause::TimeLimit if generated == 0 => (
            "(no answer: the time limit passed before the first token; `--max-time`, or `/params max_time` in a chat, raises it)",
            "（没有回答：在第一个词元之前已到时间上限；可用 `--max-time` 或对话中的 `/params max_time` 提高）",
        ),
        StopCause::TimeLimit => (
            "(no answer: the time limit passed before any text; `--max-time`, or `/params max_time` in a chat, raises it)",
            "（没有回答：在产生文本之前已到时间上限；可用 `--max-time` 或对话中的 `/params max_time` 提高）",
        ),
        StopCause::PromptTimeLimit => (
            "(no answer: the prompt was not processed within its time limit)",
            "（没有回答：处理输入已超过时间上限）",
        ),
        StopCause::WindowFull => (
            "(no answer: the prompt fills the context window; shorten it, or forget earlier turns with `clear`)",
            "（没有回答：输入占满了上下文窗口；请缩短输入，或用 `clear` 清空之前的对话）",
        ),
        StopCause::MaxNewTokens => {
            let en = format!(
                "(no answer: --max-new-tokens was reached after {generated} token(s), before any text; `--max-new-tokens`, or `/params max_new_tokens` in a chat, raises it)"
            );
            let zh = format!(
                "（没有回答：在产生文本之前已到 --max-new-tokens 上限（{generated} 个词元）；可用 `--max-new-tokens` 或对话中的 `/params max_new_tokens` 提高）"
            );
            return (en, zh);
        }
        StopCause::EndOfTurn => (
            "(no answer: the model ended its turn at once, without text; ask again, or `/regen` in a chat)",
            "（没有回答：模型立即结束，没有产生文本；请重新提问，或在对话中使用 `/regen`）",
        ),
        StopCause::StopString(text) => {
            let text = text.escape_debug();
            return (
                format!("(no answer: the stop text \"{text}\" came first)"),
                format!("（没有回答：最先出现的是停止文本“{text}”）"),
            );
        }
    };
    (en.into(), zh.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use moss::engine::{Timings, Usage};

    use super::*;
    use crate::messages::{Language, Message};

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
    fn an_answer_without_text_says_why_in_both_languages() {
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
                "time limit passed before any text",
                "产生文本之前",
            ),
            (StopCause::WindowFull, 0, "context window", "上下文窗口"),
            (
                StopCause::MaxNewTokens,
                1,
                "after 1 token(s)",
                "--max-new-tokens",
            ),
            (StopCause::EndOfTurn, 1, "at once, without text", "立即结束"),
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
                let why = Ending::of_chat(&outcome).unwrap();
                assert!(
                    Message::Ended(why).text(Language::En).contains(en),
                    "{cause:?}: {why:?}"
                );
                assert!(
                    Message::Ended(why).text(Language::Zh).contains(zh),
                    "{cause:?}: {why:?}"
                );
            }
        }
    }

    #[test]
    fn an_answer_that_ended_by_itself_needs_no_note_and_ids_count_as_text() {
        assert!(Ending::of_chat(&outcome(StopCause::EndOfTurn, "yes", 2)).is_none());
        assert!(matches!(
            Ending::of_chat(&outcome(StopCause::TimeLimit, "yes", 2)),
            Some(Ending::Cut(_))
        ));
        let ids = outcome(StopCause::MaxNewTokens, "", 2);
        assert!(matches!(
            Ending::of_generate(&ids, true),
            Some(Ending::Cut(_))
        ));
        assert!(matches!(
            Ending::of_generate(&ids, false),
            Some(Ending::NoText(_))
        ));
    }
}
