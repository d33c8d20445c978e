//! Messages of the chat.

use moss::Outcome;
use moss_messages::{Text, msg};

/// The welcome text of MOSS's published command-line demo, the same in every language.
pub(crate) const WELCOME: &str = "欢迎使用 MOSS 人工智能助手！输入内容即可进行对话。输入 clear 以清空对话历史，输入 stop 以终止对话。";

/// Returns the token counts and the speed of an answer.
pub(crate) fn last_answer(outcome: &Outcome) -> Text {
    let Outcome { usage, timings, .. } = outcome;
    let answer = msg!(
        "last-answer",
        prompt = usage.prompt_tokens,
        reused = usage.reused_tokens,
        run = usage.prefilled_tokens,
        seconds = timings.prefill.as_secs_f64(),
        generated = usage.generated_tokens,
        rate = timings.decode_rate(usage),
    );
    let (drafted, accepted) = (usage.drafted_tokens, usage.accepted_tokens);
    if drafted == 0 {
        return answer;
    }
    msg!("last-answer-drafts", answer, accepted, drafted)
}

#[cfg(test)]
mod tests {
    use moss_messages::Language;

    use super::*;
    use crate::repl::names::NAMES;

    #[test]
    fn help_names_every_command_in_both_languages() {
        let help = msg!("chat-help");
        for language in Language::ALL {
            for name in NAMES {
                assert!(
                    language.text(&help).contains(name),
                    "{name} in {language:?}"
                );
            }
        }
    }
}
