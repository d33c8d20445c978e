//! Lines of the user, edited at a terminal or read from a pipe.

use std::{
    collections::VecDeque,
    io::{BufRead, ErrorKind, IsTerminal, StdinLock, stdin, stdout},
    path::PathBuf,
    time::Instant,
};

use moss::unicode;
use rustyline::{
    CompletionType, Config, Editor, Helper, Highlighter, Hinter, Validator, completion::Completer,
    error::ReadlineError, history::DefaultHistory,
};

use super::{
    answer::Session,
    keys::{Keys, STALE},
    names::NAMES,
    unedited::{self, Typed},
};
use moss_messages::{Text, msg};

use crate::{
    errors::{CliError, Context},
    printer::Printer,
    terminal,
};

/// The user's input at a prompt.
pub(crate) enum Line {
    Text(String),
    End,
    /// Ctrl-C on an empty line. `is_first` is true if it is not the second in a row.
    Interrupted {
        is_first: bool,
    },
}

/// The source of lines.
pub(crate) enum Input {
    Terminal(Terminal),
    Pipe {
        stdin: StdinLock<'static>,
        line: usize,
    },
}

/// A line editor that keeps typed-ahead text. rustyline keeps what it has read beyond a line
/// (feature `buffer-redux`), but only if that line is accepted. Ctrl-C and Ctrl-D are therefore
/// bound to accept an empty line.
pub(crate) struct Terminal {
    editor: Box<Editor<Commands, DefaultHistory>>,
    history: Option<PathBuf>,
    keys: Keys,
    /// Lines of a paste that are not executed yet.
    pasted: VecDeque<String>,
    /// The terminal does not support editing, so the kernel edits lines.
    unedited: bool,
    _held: terminal::Held,
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
        let fits = NAMES
            .iter()
            .filter(|name| !typed.is_empty() && name.starts_with(typed));
        Ok((0, fits.map(|name| (*name).to_owned()).collect()))
    }
}

impl Input {
    pub(crate) fn new() -> anyhow::Result<Self> {
        if !stdin().is_terminal() || !stdout().is_terminal() {
            return Ok(Self::Pipe {
                stdin: stdin().lock(),
                line: 0,
            });
        }
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .bracketed_paste(true)
            .build();
        let mut editor = Editor::with_config(config).context(msg!("cannot-edit-lines"))?;
        editor.set_helper(Some(Commands));
        let keys = Keys::bind(&mut editor);
        let history = dirs::data_dir().map(|folder| folder.join("moss-rs").join("history"));
        if let Some(file) = &history {
            let _ = editor.load_history(file); // it may not exist yet
        }
        let unedited = is_simple_terminal();
        let _held = terminal::Held::new(!unedited);
        Ok(Self::Terminal(Terminal {
            editor: Box::new(editor),
            history,
            keys,
            pasted: VecDeque::new(),
            unedited,
            _held,
        }))
    }

    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// Inserts these lines of a paste before the typed input.
    pub(crate) fn feed<'a>(&mut self, lines: impl DoubleEndedIterator<Item = &'a str>) {
        if let Self::Terminal(terminal) = self {
            for line in lines.rev() {
                terminal.pasted.push_front(line.to_owned());
            }
        }
    }

    /// Returns the next valid line. Invalid lines are dropped with an error message.
    pub(crate) fn line(&mut self, prompt: &str, session: &Session<'_>) -> anyhow::Result<Line> {
        match self {
            Self::Pipe { stdin, line } => piped(stdin, line, session.printer),
            Self::Terminal(terminal) => terminal.line(prompt, session),
        }
    }
}

impl Terminal {
    fn line(&mut self, prompt: &str, session: &Session<'_>) -> anyhow::Result<Line> {
        if let Some(line) = self.pasted.pop_front() {
            session.printer.answer(&format!("{prompt}{line}\n"))?;
            return Ok(Line::Text(line));
        }
        session.interrupts.before_prompt(prompt, self.unedited);
        self.keys.reset(session.answered);
        terminal::release();
        let line = match self.unedited {
            true => self.unedited(prompt, session),
            false => self.edited(prompt, session.printer),
        };
        terminal::hold();
        session.interrupts.after_prompt();
        line
    }

    fn edited(&mut self, prompt: &str, printer: &Printer) -> anyhow::Result<Line> {
        loop {
            match self.editor.readline(prompt) {
                Ok(_) if self.keys.ended() => return Ok(Line::End),
                Ok(_) if self.keys.interrupted() => {
                    return Ok(Line::Interrupted {
                        is_first: self.keys.is_first(),
                    });
                }
                Ok(line) => {
                    self.keep_history(&line);
                    return Ok(Line::Text(line));
                }
                Err(ReadlineError::Eof) => return Ok(Line::End),
                Err(ReadlineError::Interrupted) => {
                    return Ok(Line::Interrupted { is_first: false });
                }
                // The editor does not report the byte. Up to a kilobyte of input after it is lost:
                // the editor keeps its buffer only after an accepted line
                // (`Editor::readline_edit`), and it cannot read from another source than the
                // terminal.
                Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                    not_utf8(msg!("edited-not-utf8"), printer);
                }
                Err(error) => {
                    let what = msg!("cannot-read-terminal");
                    return Err(CliError::new(what).because(error).into());
                }
            }
        }
    }

    fn unedited(&mut self, prompt: &str, session: &Session<'_>) -> anyhow::Result<Line> {
        let mut is_first = false;
        loop {
            session.printer.raw(prompt)?;
            let shown = session.answered.then(Instant::now);
            let typed = unedited::read(&mut stdin().lock(), terminal::interrupt_key());
            match typed.context(msg!("cannot-read-terminal"))? {
                Typed::Line(bytes) => match String::from_utf8(bytes) {
                    Ok(line) => {
                        self.keep_history(&line);
                        return Ok(Line::Text(line));
                    }
                    Err(_) => not_utf8(msg!("typed-not-utf8"), session.printer),
                },
                Typed::End => return Ok(Line::End),
                Typed::Interrupt { is_empty } => {
                    session.printer.raw("\n")?;
                    is_first |= !is_empty || shown.is_some_and(|shown| shown.elapsed() < STALE);
                    if is_empty {
                        return Ok(Line::Interrupted { is_first });
                    }
                }
            }
        }
    }

    fn keep_history(&mut self, line: &str) {
        if line.trim().is_empty() || !self.editor.add_history_entry(line).unwrap_or(false) {
            return;
        }
        let Some(file) = &self.history else { return };
        if let Some(folder) = file.parent() {
            // Errors are ignored: the history is optional.
            let _ = std::fs::create_dir_all(folder);
        }
        let _ = self.editor.save_history(file);
    }
}

/// Returns true for terminals on which rustyline reads lines without editing them.
fn is_simple_terminal() -> bool {
    let term = std::env::var("TERM").unwrap_or_default();
    ["dumb", "cons25", "emacs"]
        .iter()
        .any(|name| term.eq_ignore_ascii_case(name))
}

fn not_utf8(message: Text, printer: &Printer) {
    printer.error(&CliError::new(message).into());
}

/// Rejects UTF-16 before its first line is answered. A single line may be too short to detect it.
fn check_encoding(stdin: &mut StdinLock<'static>) -> anyhow::Result<()> {
    loop {
        match stdin.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            start => {
                let start = start.context(msg!("cannot-read-stdin"))?;
                unicode::decode_start(start).context(msg!("stdin-not-text"))?;
                return Ok(());
            }
        }
    }
}

fn piped(
    stdin: &mut StdinLock<'static>,
    number: &mut usize,
    printer: &Printer,
) -> anyhow::Result<Line> {
    if *number == 0 {
        check_encoding(stdin)?;
    }
    loop {
        let mut bytes = Vec::new();
        if stdin
            .read_until(b'\n', &mut bytes)
            .context(msg!("cannot-read-stdin"))?
            == 0
        {
            return Ok(Line::End);
        }
        *number += 1;
        if *number == 1 {
            let text = unicode::decode_start(&bytes);
            bytes = text.context(msg!("stdin-not-text"))?.to_vec();
        }
        while bytes
            .last()
            .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
        {
            bytes.pop();
        }
        match String::from_utf8(bytes) {
            Ok(line) => return Ok(Line::Text(line)),
            Err(error) => {
                let offset = error.utf8_error().valid_up_to();
                let byte = error.as_bytes().get(offset).copied().unwrap_or_default();
                not_utf8(msg!("line-not-utf8", line = *number, offset, byte), printer);
            }
        }
    }
}
