//! All output: answers and reports go to stdout, everything else to stderr. Text from outside this
//! program may contain control sequences, so it is escaped here.

use std::io::{self, IsTerminal, Write};

use moss::unicode::{Context, escape};
use moss_messages::{Language, Message, Text, msg};

use crate::{
    args::OutputArgs,
    errors::{self, Unwritable},
    fold,
    messages::language_of_locale,
};

/// Settings of the terminal in the environment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TerminalEnv {
    /// NO_COLOR is set and not empty (no-color.org).
    pub(crate) no_color: bool,
    /// TERM is `dumb`: no colours and no progress bars.
    pub(crate) dumb: bool,
}

impl TerminalEnv {
    pub(crate) fn read() -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            no_color,
            dumb: std::env::var_os("TERM").is_some_and(|term| term == "dumb"),
        }
    }
}

/// Prints in the user's language, as much as the flags allow.
#[derive(Debug, Clone)]
pub(crate) struct Printer {
    quiet: bool,
    pub(crate) verbose: u8,
    pub(crate) language: Language,
    /// Progress bars may be drawn.
    pub(crate) draws: bool,
    pub(crate) colors: bool,
    stdout_is_terminal: bool,
}

impl Printer {
    pub(crate) fn new(args: &OutputArgs, terminal: TerminalEnv) -> Self {
        let language = args.lang.unwrap_or_else(language_of_locale);
        let draws = io::stderr().is_terminal() && !terminal.dumb;
        Self {
            quiet: args.quiet,
            verbose: args.verbose,
            language,
            draws: draws && !args.quiet,
            colors: draws && !terminal.no_color,
            stdout_is_terminal: io::stdout().is_terminal(),
        }
    }

    /// Prints a piece of an answer and flushes. It is escaped only on a terminal.
    ///
    /// # Errors
    /// [`Unwritable`], also for a broken pipe.
    pub(crate) fn answer(&self, piece: &str) -> Result<(), Unwritable> {
        if self.stdout_is_terminal {
            self.report(piece)
        } else {
            self.raw(piece)
        }
    }

    /// Prints a report. The caller has escaped names in it, which may contain line ends.
    ///
    /// # Errors
    /// [`Unwritable`], also for a broken pipe.
    pub(crate) fn report(&self, text: &str) -> Result<(), Unwritable> {
        self.raw(&escape(text, Context::Text))
    }

    /// Prints a JSON document and a line end.
    ///
    /// # Errors
    /// [`Unwritable`], also for a broken pipe.
    pub(crate) fn json(&self, value: &serde_json::Value) -> Result<(), Unwritable> {
        self.raw(&escape(&format!("{value}\n"), Context::Json))
    }

    /// Prints text without escaping, for control sequences of this program.
    ///
    /// # Errors
    /// [`Unwritable`], also for a broken pipe.
    pub(crate) fn raw(&self, piece: &str) -> Result<(), Unwritable> {
        let mut out = io::stdout().lock();
        out.write_all(piece.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Returns a message in the user's language.
    pub(crate) fn text(&self, message: &dyn Message) -> String {
        self.language.text(message)
    }

    /// Returns true if a user can answer a question.
    pub(crate) fn can_ask(&self) -> bool {
        !self.quiet && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks a question. Returns true only for a yes.
    pub(crate) fn ask(&self, question: &Text) -> bool {
        let mut line = String::new();
        let question = self.text(question);
        let _ = write!(io::stderr(), "{} ", escape(&question, Context::Text));
        let read = io::stdin().read_line(&mut line);
        read.is_ok() && ["y", "yes", "是"].contains(&line.trim().to_lowercase().as_str())
    }

    /// Prints a message, unless `--quiet` is given.
    pub(crate) fn say(&self, message: Text) {
        self.note(&self.text(&message));
    }

    /// Prints text, unless `--quiet` is given.
    pub(crate) fn note(&self, text: &str) {
        self.line(&escape(text, Context::Text));
    }

    /// Prints a line that may contain colours.
    fn line(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{text}"); // a closed stderr does not end the program
        }
    }

    /// Prints text if `--verbose` is given.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbose > 0 {
            self.note(text);
        }
    }

    /// Prints a dimmed piece of text that is not the answer: thoughts and commands of plugin
    /// models.
    pub(crate) fn aside(&self, piece: &str) {
        if !self.quiet {
            let piece = escape(piece, Context::Text);
            let text = if self.colors {
                format!("\x1b[2m{piece}\x1b[0m")
            } else {
                piece.into_owned()
            };
            let _ = write!(io::stderr(), "{text}");
        }
    }

    /// Prints a warning.
    pub(crate) fn warning(&self, warning: &dyn Message) {
        let text = self.text(warning);
        let text = escape(&text, Context::Line);
        self.line(&self.labelled(msg!("label-warning"), "33", &text));
    }

    /// Prints a warning, and its cause on separate lines.
    pub(crate) fn warning_because(&self, warning: &dyn Message, error: &anyhow::Error) {
        let text = self.text(warning);
        let text = escape(&text, Context::Line);
        let text = format!("{text}\n  {}", self.causes(error)); // each cause is escaped
        self.line(&self.labelled(msg!("label-warning"), "33", &text));
    }

    /// Prints an error, its causes and its hint, also with `--quiet`.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        self.failure(
            &self.causes(error),
            errors::hint(error, self.language).as_deref(),
        );
    }

    /// Returns an error and its causes, one per line, in the user's language.
    pub(crate) fn causes(&self, error: &anyhow::Error) -> String {
        let mut causes = error
            .chain()
            .map(|cause| errors::text(cause, self.language));
        let mut last = causes.next().unwrap_or_default();
        let mut text = last.clone();
        for cause in causes {
            if !last.ends_with(&cause) {
                text += &format!("\n  {cause}");
            }
            last = cause;
        }
        text
    }

    /// Prints an error and its hint, both in the user's language.
    pub(crate) fn failure(&self, what: &str, hint: Option<&str>) {
        let mut text = self.labelled(msg!("label-error"), "31", &escape(what, Context::Text));
        if let Some(hint) = hint {
            text += "\n";
            text += &self.labelled(msg!("label-hint"), "36", &escape(hint, Context::Line));
        }
        // Chinese text has few spaces, so a terminal would often break lines within names.
        if self.language == Language::Zh && io::stderr().is_terminal() {
            text = fold::to_terminal(&text, usize::MAX);
        }
        let _ = writeln!(io::stderr(), "{text}");
    }

    fn labelled(&self, label: Text, color: &str, text: &str) -> String {
        let label = self.text(&label);
        if self.colors {
            format!("\x1b[1;{color}m{label}\x1b[0m{text}")
        } else {
            format!("{label}{text}")
        }
    }
}
