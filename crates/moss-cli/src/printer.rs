//! The one place that writes: answers and reports to stdout, everything else to stderr. Text that
//! this program did not write itself may hold anything: whatever a terminal would obey is escaped
//! on the way out.

use std::io::{self, IsTerminal, Write};

use moss::unicode::{Context, escape};
use moss_messages::{Language, Message, Text, msg};

use crate::{
    args::OutputArgs,
    errors::{self, Unwritable},
    fold,
    messages::language_of_locale,
};

/// What the environment says about the terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings {
    /// NO_COLOR is set, to anything but nothing (no-color.org).
    pub(crate) no_color: bool,
    /// TERM is `dumb`: neither colours nor a bar that is drawn over.
    pub(crate) dumb: bool,
}

impl Surroundings {
    pub(crate) fn read() -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            no_color,
            dumb: std::env::var_os("TERM").is_some_and(|term| term == "dumb"),
        }
    }
}

/// Decides what is shown, and how.
#[derive(Debug, Clone)]
pub(crate) struct Printer {
    quiet: bool,
    pub(crate) verbose: u8,
    pub(crate) language: Language,
    /// Whether bars may be drawn.
    pub(crate) draws: bool,
    pub(crate) colors: bool,
    /// Whether stdout is a terminal.
    screen: bool,
}

impl Printer {
    pub(crate) fn new(args: &OutputArgs, surroundings: Surroundings) -> Self {
        let language = args.lang.unwrap_or_else(language_of_locale);
        let terminal = io::stderr().is_terminal() && !surroundings.dumb;
        Self {
            quiet: args.quiet,
            verbose: args.verbose,
            language,
            draws: terminal && !args.quiet,
            colors: terminal && !surroundings.no_color,
            screen: io::stdout().is_terminal(),
        }
    }

    /// A piece of an answer, shown at once. Programs get it as it is.
    ///
    /// # Errors
    /// [`Unwritable`], for a broken pipe too.
    pub(crate) fn answer(&self, piece: &str) -> Result<(), Unwritable> {
        if self.screen {
            self.report(piece)
        } else {
            self.raw(piece)
        }
    }

    /// Lines for people. Names within them are escaped by the caller, since they may hold line
    /// ends.
    ///
    /// # Errors
    /// [`Unwritable`], for a broken pipe too.
    pub(crate) fn report(&self, text: &str) -> Result<(), Unwritable> {
        self.raw(&escape(text, Context::Text))
    }

    /// A JSON document and a line end.
    ///
    /// # Errors
    /// [`Unwritable`], for a broken pipe too.
    pub(crate) fn json(&self, value: &serde_json::Value) -> Result<(), Unwritable> {
        self.raw(&escape(&format!("{value}\n"), Context::Json))
    }

    /// Text of this program's own with sequences that the terminal is to obey.
    ///
    /// # Errors
    /// [`Unwritable`], for a broken pipe too.
    pub(crate) fn raw(&self, piece: &str) -> Result<(), Unwritable> {
        let mut out = io::stdout().lock();
        out.write_all(piece.as_bytes())?;
        Ok(out.flush()?)
    }

    /// A message in the user's language.
    pub(crate) fn text(&self, message: &dyn Message) -> String {
        self.language.text(message)
    }

    /// Whether somebody is there to answer a question.
    pub(crate) fn can_ask(&self) -> bool {
        !self.quiet && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// A question, which anything but a yes answers with no.
    pub(crate) fn ask(&self, question: &Text) -> bool {
        let mut line = String::new();
        let question = self.text(question);
        let _ = write!(io::stderr(), "{} ", escape(&question, Context::Text));
        let read = io::stdin().read_line(&mut line);
        read.is_ok() && ["y", "yes", "是"].contains(&line.trim().to_lowercase().as_str())
    }

    /// Something worth knowing, in the user's language.
    pub(crate) fn say(&self, message: Text) {
        self.note(&self.text(&message));
    }

    /// Something worth knowing.
    pub(crate) fn note(&self, text: &str) {
        self.line(&escape(text, Context::Text));
    }

    /// A line with colours of our own.
    fn line(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{text}"); // a closed stderr is no reason to stop
        }
    }

    /// Something worth knowing for those who ask for more.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbose > 0 {
            self.note(text);
        }
    }

    /// Text that is not the answer, piece by piece and dim: thoughts and commands of plugin models.
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

    /// An odd thing that was handled.
    pub(crate) fn warning(&self, warning: &dyn Message) {
        let text = self.text(warning);
        let text = escape(&text, Context::Line);
        self.line(&self.labelled(msg!("label-warning"), "33", &text));
    }

    /// An odd thing that was handled, and the error behind it on lines of its own.
    pub(crate) fn warning_because(&self, warning: &dyn Message, error: &anyhow::Error) {
        let text = self.text(warning);
        let text = escape(&text, Context::Line);
        let text = format!("{text}\n  {}", self.causes(error)); // each cause is escaped
        self.line(&self.labelled(msg!("label-warning"), "33", &text));
    }

    /// What failed, why, and what to do about it: also under `--quiet`.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        self.failure(
            &self.causes(error),
            errors::hint(error, self.language).as_deref(),
        );
    }

    /// An error and what caused it, a line each, in the user's language.
    pub(crate) fn causes(&self, error: &anyhow::Error) -> String {
        let mut causes = error
            .chain()
            .map(|cause| errors::text(cause, self.language));
        let mut said = causes.next().unwrap_or_default();
        let mut what = said.clone();
        for cause in causes {
            if !said.ends_with(&cause) {
                what += &format!("\n  {cause}");
            }
            said = cause;
        }
        what
    }

    /// The same, in words of the user's language.
    pub(crate) fn failure(&self, what: &str, hint: Option<&str>) {
        let mut text = self.labelled(msg!("label-error"), "31", &escape(what, Context::Text));
        if let Some(hint) = hint {
            text += "\n";
            text += &self.labelled(msg!("label-hint"), "36", &escape(hint, Context::Line));
        }
        // A terminal breaks lines anywhere, in Chinese text most often within a name: it has few
        // spaces.
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
