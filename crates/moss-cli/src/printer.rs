//! The one place that writes: answers to stdout, everything else to stderr.
#![allow(clippy::print_stderr)]

use std::io::{self, IsTerminal, Write};

use crate::{args::OutputArgs, messages::Language};

/// Decides what is shown, and how.
#[derive(Debug, Clone)]
pub(crate) struct Printer {
    quiet: bool,
    pub(crate) verbose: u8,
    pub(crate) language: Language,
    pub(crate) fancy: bool,
}

impl Printer {
    pub(crate) fn new(args: &OutputArgs, no_color: bool) -> Self {
        let language = args.lang.unwrap_or_else(Language::of_locale);
        let fancy = io::stderr().is_terminal() && !no_color;
        Self { quiet: args.quiet, verbose: args.verbose, language, fancy }
    }

    /// A piece of an answer, shown at once.
    ///
    /// # Errors
    /// Of stdout, a broken pipe among them.
    pub(crate) fn answer(&self, piece: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(piece.as_bytes())?;
        out.flush()
    }

    /// Something worth knowing.
    pub(crate) fn note(&self, text: &str) {
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
            let text = if self.fancy { format!("\x1b[2m{piece}\x1b[0m") } else { piece.to_owned() };
            let _ = write!(io::stderr(), "{text}");
        }
    }

    /// An odd thing that was handled.
    pub(crate) fn warning(&self, text: &str) {
        self.note(&format!("{} {text}", self.paint("warning:", "33")));
    }

    /// What failed, why, and what to do about it.
    pub(crate) fn error(&self, error: &anyhow::Error, hint: Option<String>) {
        let mut err = io::stderr();
        let _ = writeln!(err, "{} {error}", self.paint("error:", "31"));
        let mut said = error.to_string();
        for cause in error.chain().skip(1) {
            let cause = cause.to_string();
            if !said.ends_with(&cause) {
                let _ = writeln!(err, "  {cause}");
            }
            said = cause;
        }
        if let Some(hint) = hint {
            let _ = writeln!(err, "{} {hint}", self.paint("hint:", "36"));
        }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    fn paint(&self, text: &str, code: &str) -> String {
        if self.fancy { format!("\x1b[1;{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Whether an error is a reader of our output that has gone away: no failure of ours.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
