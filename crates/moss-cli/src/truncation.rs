//! A weight file that is truncated while it is mapped: the program ends with a message instead of
//! SIGBUS.

use std::io::IsTerminal;

use moss::checkpoint::exit_on_truncation;

use moss_messages::msg;

use crate::printer::Printer;

/// Exit status of a program whose weight file could no longer be read: EX_IOERR of sysexits.h.
pub(crate) const TRUNCATED: u8 = 74;

/// Watches for it from now on.
pub(crate) fn watch(printer: &Printer) {
    // The handler of the signal puts the file's name in place of `{file}`.
    let message = printer.text(&msg!("truncated", file = "{file}"));
    // An answer may stand in the line.
    let begin = if std::io::stderr().is_terminal() {
        "\n"
    } else {
        ""
    };
    if let Err(error) = exit_on_truncation(TRUNCATED, &format!("{begin}{message}\n")) {
        printer.detail(&format!("SIGBUS: {error}"));
    }
}
