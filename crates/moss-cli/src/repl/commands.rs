//! The commands of a chat.

use std::path::Path;

use moss::{Chat, SystemText, text::Conversation, unicode};

use super::{
    answer::Session,
    input::{Input, Line},
    names::NAMES,
    params,
};
use moss_messages::{Text, msg};

use crate::{errors::CliError, messages::last_answer, output};

/// Clears the screen and the scroll-back, and moves the cursor to the top left.
const CLEAR_SCREEN: &str = "\x1b[2J\x1b[3J\x1b[H";

/// The next step after a line.
pub(crate) enum Action {
    Continue,
    Leave,
}

/// Executes a line: a command, or a message to answer.
pub(crate) fn act(
    line: &str,
    chat: &mut Chat,
    session: &mut Session<'_>,
    input: &mut Input,
) -> anyhow::Result<Action> {
    let printer = session.printer;
    let reject = |what: Text| -> anyhow::Result<Action> { Err(CliError::new(what).into()) };
    match kind_of(line) {
        Kind::Line => {}
        Kind::Lines => {
            input.feed(line.lines());
            return Ok(Action::Continue);
        }
        Kind::Message => {
            answer(line, chat, session)?;
            return Ok(Action::Continue);
        }
    }
    let (name, rest) = name_and_rest(line);
    match (name, rest) {
        ("", _) => {}
        ("stop" | "/quit", "") => return Ok(Action::Leave),
        ("clear", "") => {
            chat.clear();
            session.outcome = None;
            if input.is_terminal() {
                printer.raw(CLEAR_SCREEN)?;
            }
        }
        ("/help", _) => printer.say(msg!("chat-help")),
        ("/regen", "") => regenerate(chat, session)?,
        ("/undo", "") => match chat.undo() {
            Some(user) => printer.say(msg!("took-back", user)),
            None => printer.say(msg!("nothing-to-take-back")),
        },
        ("/system", "") => match chat.system() {
            SystemText::Published => printer.say(msg!("published-system")),
            SystemText::Custom(text) => printer.note(text),
        },
        ("/system", "-") => chat.set_system(SystemText::Published),
        ("/system", text) => chat.set_system(SystemText::Custom(text.to_owned())),
        ("/params", "") => printer.note(&params::show(&chat.options)),
        ("/params", pair) => chat.options = params::set(&chat.options, pair)?,
        ("/save" | "/load", "") => return reject(msg!("command-needs-file", name)),
        ("/save", file) => match file.strip_prefix("--force") {
            Some("") => return reject(msg!("command-needs-file", name)),
            Some(file) if file.starts_with(char::is_whitespace) => {
                save(file.trim(), true, chat, session)?
            }
            _ => save(file, false, chat, session)?,
        },
        ("/load", file) => load(file, chat, session)?,
        ("/stats", "") => stats(chat, session)?,
        ("/multi", "") => match read_lines(session, input)? {
            Some(text) => answer(&text, chat, session)?,
            None => printer.say(msg!("discarded")),
        },
        ("/results", "") => return reject(msg!("command-needs-text", name)),
        ("/results", text) => {
            let run = chat.results(text)?;
            session.stream(run)?;
            session.after_commands(chat)?;
        }
        _ if !line.starts_with('/') => answer(line, chat, session)?,
        _ if NAMES.contains(&name) => {
            return reject(msg!("command-needs-nothing", name));
        }
        _ if looks_like_command(name) => return reject(msg!("unknown-command", name)),
        _ => answer(line, chat, session)?,
    }
    Ok(Action::Continue)
}

/// The interpretation of a text.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// A command or a message.
    Line,
    /// A command and further lines, each executed separately.
    Lines,
    /// A message of several lines.
    Message,
}

/// Text of several lines comes from a paste. If it begins with a command, it is executed line by
/// line, as on terminals without paste markers, unless the lines are the text of that command.
/// `clear` and `stop` are ordinary words at the beginning of such a text.
fn kind_of(text: &str) -> Kind {
    let Some((first, _)) = text.split_once('\n') else {
        return Kind::Line;
    };
    match name_and_rest(first) {
        ("/system" | "/results", rest) if !rest.is_empty() => Kind::Line,
        (name, _) if name.starts_with('/') && NAMES.contains(&name) => Kind::Lines,
        _ => Kind::Message,
    }
}

fn name_and_rest(line: &str) -> (&str, &str) {
    let line = line.trim();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (name, rest.trim())
}

/// Returns true for a word that looks like a command, not like a path or a calculation.
fn looks_like_command(name: &str) -> bool {
    name.strip_prefix('/')
        .is_some_and(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

fn answer(text: &str, chat: &mut Chat, session: &mut Session<'_>) -> anyhow::Result<()> {
    let text = text.trim_end(); // leading spaces may be the indentation of code
    if text.is_empty() {
        return Ok(());
    }
    session.retries = 0;
    let run = chat.ask(text)?;
    session.stream(run)?;
    session.after_commands(chat)
}

/// Answers the last message again. Each retry increments a fixed seed, which would give the same
/// answer again.
fn regenerate(chat: &mut Chat, session: &mut Session<'_>) -> anyhow::Result<()> {
    let seed = chat.options.sampling.seed;
    session.retries += 1;
    chat.options.sampling.seed = seed.map(|seed| seed.wrapping_add(session.retries));
    let shown = chat
        .regenerate()
        .map_err(Into::into)
        .and_then(|run| session.stream(run));
    chat.options.sampling.seed = seed;
    shown?;
    session.after_commands(chat)
}

/// Reads lines up to one with a single dot, or to the end of input. Returns `None` after Ctrl-C.
fn read_lines(session: &Session<'_>, input: &mut Input) -> anyhow::Result<Option<String>> {
    session.printer.say(msg!("multi-ends"));
    let mut text = String::new();
    loop {
        match input.line("... ", session)? {
            Line::Interrupted { .. } => return Ok(None),
            Line::End => return Ok(Some(text)),
            Line::Text(line) if line == "." => return Ok(Some(text)),
            Line::Text(line) => {
                text.push_str(&line);
                text.push('\n');
            }
        }
    }
}

fn save(file: &str, force: bool, chat: &Chat, session: &mut Session<'_>) -> anyhow::Result<()> {
    let (path, json) = (Path::new(file), chat.conversation().to_json()?);
    output::write(path, json.as_bytes(), force || session.created.owns(path))?;
    session.created.note(path);
    let turns = chat.turns().len();
    session.printer.say(msg!("saved", turns, file));
    Ok(())
}

fn load(file: &str, chat: &mut Chat, session: &mut Session<'_>) -> anyhow::Result<()> {
    let cannot = || msg!("cannot-read", file);
    let bytes = moss::files::read_bytes(Path::new(file), moss::files::MAX_BYTES)
        .map_err(|error| CliError::new(cannot()).because(error))?;
    let text = unicode::decode(&bytes).map_err(|error| CliError::new(cannot()).because(error))?;
    chat.load(&Conversation::from_json(text.as_bytes())?)?;
    session.outcome = None;
    let turns = chat.turns().len();
    session.printer.say(msg!("loaded", turns));
    Ok(())
}

fn stats(chat: &Chat, session: &Session<'_>) -> anyhow::Result<()> {
    let (used, window) = chat.context()?;
    let turns = chat.turns().len();
    session.printer.say(msg!("window", used, window, turns));
    if let Some(outcome) = &session.outcome {
        session.printer.say(last_answer(outcome));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paste_that_begins_with_a_command_is_executed_line_by_line() {
        for (text, kind) in [
            ("/multi\na\nb\n.\n", Kind::Lines),
            ("/save a.json\nhello", Kind::Lines),
            ("/regen\nfoo", Kind::Lines),
            (" /quit \nnow", Kind::Lines),
            ("/system\nfoo", Kind::Lines),
            ("/system You are\na poet", Kind::Line),
            ("/results a\nb", Kind::Line),
            ("/halp\nfoo", Kind::Message),
            ("/etc/fstab\n/dev/sda", Kind::Message),
            ("clear\nthe table", Kind::Message),
            ("    if x:\n        y", Kind::Message),
            ("\n/quit", Kind::Message),
            ("/quit", Kind::Line),
        ] {
            assert_eq!(kind_of(text), kind, "{text:?}");
        }
    }

    #[test]
    fn mistyped_commands_look_like_commands_and_paths_and_calculations_do_not() {
        assert!(looks_like_command("/halp") && looks_like_command("/regenerate"));
        for message in ["/", "/usr/bin", "/3", "/你好", "//", "/A"] {
            assert!(!looks_like_command(message), "{message}");
        }
    }
}
