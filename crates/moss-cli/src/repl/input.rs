//! Lines of a user: edited at a terminal, or read from a pipe.

use std::{
    io::{BufRead, ErrorKind, IsTerminal, StdinLock, stdin, stdout},
    path::PathBuf,
};

use moss::unicode;
use rustyline::{
    CompletionType, Config, Editor, Helper, Highlighter, Hinter, Validator, completion::Completer,
    error::ReadlineError, history::DefaultHistory,
};

use super::commands::NAMES;
use crate::{
    errors::{Failed, OrFail},
    messages::Message,
    printer::Printer,
};

/// What a user does at a prompt.
pub(crate) enum Line {
    Text(String),
    End,
    /// Ctrl-C; what was typed is gone.
    Interrupted,
}

/// Where lines come from.
pub(crate) enum Input {
    Terminal { editor: Box<Editor<Commands, DefaultHistory>>, history: Option<PathBuf> },
    Pipe { stdin: StdinLock<'static>, line: usize },
}

/// Completes the names of commands.
#[derive(Helper, Hinter, Highlighter, Validator)]
pub(crate) struct Commands;

impl Completer for Commands {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..pos).unwrap_or(line);
        let fits = NAMES.iter().filter(|name| !typed.is_empty() && name.starts_with(typed));
        Ok((0, fits.map(|name| (*name).to_owned()).collect()))
    }
}

impl Input {
    pub(crate) fn new() -> anyhow::Result<Self> {
        if !stdin().is_terminal() || !stdout().is_terminal() {
            return Ok(Self::Pipe { stdin: stdin().lock(), line: 0 });
        }
        let config = Config::builder().completion_type(CompletionType::List).bracketed_paste(true).build();
        let mut editor = Editor::with_config(config)
            .or_fail("cannot edit lines at this terminal", "无法在此终端上编辑输入")?;
        editor.set_helper(Some(Commands));
        let history = dirs::data_dir().map(|folder| folder.join("moss-rs").join("history"));
        if let Some(file) = &history {
            let _ = editor.load_history(file); // there is none yet
        }
        Ok(Self::Terminal { editor: Box::new(editor), history })
    }

    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal { .. })
    }

    /// The next line that can be read; others are dropped with a word about why.
    pub(crate) fn line(&mut self, prompt: &str, printer: &Printer) -> anyhow::Result<Line> {
        match self {
            Self::Pipe { stdin, line } => piped(stdin, line, printer),
            Self::Terminal { editor, history } => edited(editor, history.as_ref(), prompt, printer),
        }
    }
}

fn edited(
    editor: &mut Editor<Commands, DefaultHistory>,
    history: Option<&PathBuf>,
    prompt: &str,
    printer: &Printer,
) -> anyhow::Result<Line> {
    loop {
        match editor.readline(prompt) {
            Ok(line) => {
                if !line.trim().is_empty() && editor.add_history_entry(&line).unwrap_or(false) {
                    keep(editor, history);
                }
                return Ok(Line::Text(line));
            }
            Err(ReadlineError::Eof) => return Ok(Line::End),
            Err(ReadlineError::Interrupted) => return Ok(Line::Interrupted),
            // The editor does not say which byte it was.
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                not_utf8(Message::NotUtf8Typed, printer);
            }
            Err(error) => {
                let what = ("cannot read from the terminal", "无法从终端读取");
                return Err(Failed::new(what).because(error).into());
            }
        }
    }
}

fn not_utf8(message: Message<'_>, printer: &Printer) {
    printer.error(&Failed::new(message).hint(Message::SetUtf8).into());
}

fn keep(editor: &mut Editor<Commands, DefaultHistory>, history: Option<&PathBuf>) {
    let Some(file) = history else { return };
    if let Some(folder) = file.parent() {
        let _ = std::fs::create_dir_all(folder); // a history that cannot be kept is no reason to stop
    }
    let _ = editor.save_history(file);
}

fn piped(stdin: &mut StdinLock<'static>, number: &mut usize, printer: &Printer) -> anyhow::Result<Line> {
    loop {
        let mut bytes = Vec::new();
        if stdin.read_until(b'\n', &mut bytes).or_fail("cannot read stdin", "无法读取标准输入")? == 0
        {
            return Ok(Line::End);
        }
        *number += 1;
        if *number == 1 {
            let text = unicode::decode_start(&bytes);
            bytes = text.or_fail("cannot read stdin as text", "无法将标准输入作为文本读取")?.to_vec();
        }
        while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            bytes.pop();
        }
        match String::from_utf8(bytes) {
            Ok(line) => return Ok(Line::Text(line)),
            Err(error) => {
                let offset = error.utf8_error().valid_up_to();
                let byte = error.as_bytes().get(offset).copied().unwrap_or_default();
                not_utf8(Message::NotUtf8 { line: *number, offset, byte }, printer);
            }
        }
    }
}
