//! A weight file that is truncated while it is mapped: the program ends with a message instead of
//! SIGBUS.

use std::io::IsTerminal;

use moss::checkpoint::exit_on_truncation;

use crate::printer::Printer;

/// Exit status of a program whose weight file could no longer be read: EX_IOERR of sysexits.h.
pub(crate) const TRUNCATED: u8 = 74;

/// Watches for it from now on.
pub(crate) fn watch(printer: &Printer) {
    let message = printer.language.pick(
        "error: the weight file `{file}` can no longer be read: it was truncated while in use, or its disk failed\n\
         hint: replace files by rename (write a new file beside it, then `mv`), never in place; `--no-mmap` reads weights \
         into memory instead\n",
        "错误：权重文件 `{file}` 已无法读取：它在使用中被截断，或磁盘出现故障\n\
         建议：请通过重命名替换文件（先写入新文件，再 `mv`），不要原地改写；`--no-mmap` 会将权重读入内存\n",
    );
    // An answer may stand in the line.
    let begin = if std::io::stderr().is_terminal() {
        "\n"
    } else {
        ""
    };
    if let Err(error) = exit_on_truncation(TRUNCATED, &format!("{begin}{message}")) {
        printer.detail(&format!("SIGBUS: {error}"));
    }
}
