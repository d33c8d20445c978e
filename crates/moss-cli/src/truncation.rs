//! If a weight file is truncated while it is memory-mapped, the program ends with a message instead
//! of SIGBUS.

use std::io::IsTerminal;

use moss::checkpoint::exit_on_truncation;

use moss_messages::msg;

use crate::printer::Printer;

/// Exit status if a weight file can no longer be read: EX_IOERR of sysexits.h.
pub(crate) const TRUNCATED: u8 = 74;

/// Installs the handler.
pub(crate) fn watch(printer: &Printer) {
    // The signal handler replaces `{file}` by the file's name.
    let message = printer.text(&msg!("truncated", file = "{file}"));
    // The cursor may be at the end of a partial answer.
    let begin = if std::io::stderr().is_terminal() {
        "\n"
    } else {
        ""
    };
    if let Err(error) = exit_on_truncation(TRUNCATED, &format!("{begin}{message}\n")) {
        printer.detail(&format!("SIGBUS: {error}"));
    }
}
