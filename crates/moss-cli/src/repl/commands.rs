//! What can be typed besides messages.

use std::io::Write;

use anyhow::Context;
use moss::{Chat, SystemText, text::Conversation};

use super::{
    Session,
    input::{Input, Line},
};
use crate::hints::Advised;

/// Every command, for completion and for telling slips from messages.
pub(crate) const NAMES: [&str; 13] = [
    "clear", "stop", "/help", "/regen", "/undo", "/system", "/params", "/save", "/load", "/stats", "/multi",
    "/results", "/quit",
];

/// What happens after a line.
pub(crate) enum Action {
    Continue,
    Leave,
}

/// Does what a line says: a command, or a message to be answered.
pub(crate) fn act(
    line: &str,
    chat: &mut Chat,
    session: &mut Session<'_>,
    input: &mut Input,
) -> anyhow::Result<Action> {
    let printer = session.printer;
    let pick = |en, zh| printer.note(printer.language.pick(en, zh));
    let (name, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
    let rest = rest.trim();
    match (name, rest) {
        ("", _) => {}
        ("stop", "") | ("/quit", "") => return Ok(Action::Leave),
        ("clear", "") => {
            chat.clear();
            session.outcome = None;
            if input.is_terminal() {
                print_clear();
            }
        }
        ("/help", _) => printer.note(printer.language.help()),
        ("/regen", "") => {
            let run = chat.regenerate()?;
            session.stream(run)?;
            session.after_commands(chat)?;
        }
        ("/undo", "") => match chat.undo() {
            Some(user) => printer
                .note(&printer.language.pick(format!("(took back: {user})"), format!("（已撤回：{user}）"))),
            None => pick("(there is nothing to take back)", "（没有可撤回的内容）"),
        },
        ("/system", "") => match chat.system() {
            SystemText::Published => pick("(the published instruction)", "（发布时的指令）"),
            SystemText::Custom(text) => printer.note(text),
        },
        ("/system", "-") => chat.set_system(SystemText::Published),
        ("/system", text) => chat.set_system(SystemText::Custom(text.to_owned())),
        ("/params", "") => printer.note(&params(chat)),
        ("/params", pair) => set_param(chat, pair)?,
        ("/save", file) if !file.is_empty() => {
            let json = chat.conversation().to_json()?;
            std::fs::write(file, json).with_context(|| format!("cannot write `{file}`"))?;
        }
        ("/load", file) if !file.is_empty() => {
            let bytes = std::fs::read(file).with_context(|| format!("cannot read `{file}`"))?;
            chat.load(&Conversation::from_json(&bytes)?)?;
            let turns = chat.turns().len();
            printer.note(&printer.language.pick(format!("({turns} turn(s))"), format!("（{turns} 轮）")));
        }
        ("/save" | "/load", _) => return Err(usage(name, "a file")),
        ("/stats", "") => printer.note(&stats(chat, session)?),
        ("/multi", "") => {
            pick("(a line with a dot alone ends the message)", "（以单独一个点的行结束）");
            let mut text = String::new();
            while let Line::Text(line) = input.line("... ", printer)? {
                if line == "." {
                    break;
                }
                text.push_str(&line);
                text.push('\n');
            }
            answer(text.trim_end(), chat, session)?;
        }
        ("/results", text) if !text.is_empty() => {
            let run = chat.results(text)?;
            session.stream(run)?;
            session.after_commands(chat)?;
        }
        ("/results", _) => return Err(usage(name, "the results")),
        _ if NAMES.contains(&name) && name.starts_with('/') => return Err(usage(name, "nothing behind it")),
        _ if is_slip(name) => {
            return Err(Advised {
                message: format!("`{name}` is no command"),
                hint: "`/help` lists them".into(),
            }
            .into());
        }
        _ => answer(line, chat, session)?,
    }
    Ok(Action::Continue)
}

/// A word that looks like a command, not like a path or a sum.
fn is_slip(name: &str) -> bool {
    name.strip_prefix('/')
        .is_some_and(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

fn answer(text: &str, chat: &mut Chat, session: &mut Session<'_>) -> anyhow::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let run = chat.ask(text)?;
    session.stream(run)?;
    session.after_commands(chat)
}

fn usage(name: &str, expected: &str) -> anyhow::Error {
    Advised { message: format!("`{name}` needs {expected}"), hint: "`/help` lists the commands".into() }
        .into()
}

fn print_clear() {
    let mut out = std::io::stdout();
    let _ = write!(out, "\x1b[2J\x1b[3J\x1b[H"); // screen, scroll-back, home; a closed terminal is seen at the next line
    let _ = out.flush();
}

fn params(chat: &Chat) -> String {
    let s = &chat.options.sampling;
    let or = |value: Option<String>, none: &str| value.unwrap_or_else(|| none.to_owned());
    format!(
        "temperature {}\ntop_k {}\ntop_p {}\nmin_p {}\nrepetition_penalty {}\nmax_new_tokens {}\nmax_time {}\nseed {}",
        s.temperature,
        s.top_k.unwrap_or(0),
        s.top_p,
        s.min_p,
        s.repetition_penalty,
        or(chat.options.max_new_tokens.map(|n| n.to_string()), "none"),
        or(chat.options.time_limit.map(|time| format!("{}", time.as_secs_f64())), "none"),
        or(s.seed.map(|seed| seed.to_string()), "none"),
    )
}

fn set_param(chat: &mut Chat, pair: &str) -> anyhow::Result<()> {
    let (key, value) = pair.split_once([' ', '=']).map(|(k, v)| (k.trim(), v.trim())).unwrap_or((pair, ""));
    let wrong = || Advised {
        message: format!("`{value}` is no value for `{key}`"),
        hint: "`/params` alone shows them all; `none` takes a limit away".into(),
    };
    fn optional<T: std::str::FromStr>(
        value: &str,
        wrong: impl Fn() -> Advised,
    ) -> Result<Option<T>, Advised> {
        if value == "none" { Ok(None) } else { value.parse().map(Some).map_err(|_| wrong()) }
    }
    let mut options = chat.options.clone();
    let sampling = &mut options.sampling;
    match key {
        "temperature" => sampling.temperature = value.parse().map_err(|_| wrong())?,
        "top_k" => sampling.top_k = value.parse().map(|k| Some(k).filter(|k| *k > 0)).map_err(|_| wrong())?,
        "top_p" => sampling.top_p = value.parse().map_err(|_| wrong())?,
        "min_p" => sampling.min_p = value.parse().map_err(|_| wrong())?,
        "repetition_penalty" => sampling.repetition_penalty = value.parse().map_err(|_| wrong())?,
        "seed" => sampling.seed = optional(value, wrong)?,
        "max_new_tokens" => options.max_new_tokens = optional(value, wrong)?,
        "max_time" => {
            let seconds: Option<f64> = optional(value, wrong)?;
            let time = |seconds| std::time::Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
            options.time_limit = seconds.map(time).transpose()?;
        }
        _ => {
            let message = format!("`{key}` is no parameter");
            return Err(Advised { message, hint: "`/params` alone shows them all".into() }.into());
        }
    }
    options.sampling.check()?;
    chat.options = options;
    Ok(())
}

fn stats(chat: &Chat, session: &Session<'_>) -> anyhow::Result<String> {
    let (used, window) = chat.context()?;
    let mut text = format!("window: {used} of {window} tokens, {} turn(s)", chat.turns().len());
    if let Some(outcome) = &session.outcome {
        let (usage, timings) = (&outcome.usage, &outcome.timings);
        text += &format!(
            "\nlast answer: {} prompt tokens ({} from the cache, {} run in {:.2} s), {} generated at {:.1} tok/s",
            usage.prompt_tokens,
            usage.reused_tokens,
            usage.prefilled_tokens,
            timings.prefill.as_secs_f64(),
            usage.generated_tokens,
            timings.decode_rate(usage),
        );
    }
    Ok(text)
}
