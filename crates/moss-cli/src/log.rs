//! The log on stderr: spans and events of the libraries with `-v`, and the log of a server. It
//! contains text of requests, so every value is escaped.

use std::io::{self, Write};

use moss::unicode::{Context, escape};
use tracing_subscriber::{
    field::MakeExt,
    fmt::{
        MakeWriter,
        format::{Writer, debug_fn},
    },
};

use crate::{
    args::{Cli, Command, LogFormat},
    printer::Printer,
};

/// Starts the log.
pub(crate) fn start(cli: &Cli, printer: &Printer) {
    let serves = match &cli.command {
        Some(Command::Serve(args)) => Some(args.log_format),
        _ => None,
    };
    let level = match printer.verbose {
        0 if serves.is_some() && !cli.output.quiet => "info",
        0 => return,
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(format!(
            "moss={level},moss_model={level},moss_engine={level},moss_server={level}"
        ))
        .with_ansi(printer.colors)
        .log_internal_errors(false); // a closed stderr does not end the program
    match serves {
        Some(LogFormat::Json) => log.json().with_writer(EscapedJson).init(),
        _ => log
            .fmt_fields(debug_fn(write_field).delimited(" "))
            .with_writer(io::stderr)
            .init(),
    }
}

/// Writes a field of the text format in one line.
fn write_field(
    out: &mut Writer<'_>,
    field: &tracing::field::Field,
    value: &dyn std::fmt::Debug,
) -> std::fmt::Result {
    let value = format!("{value:?}");
    let value = escape(&value, Context::Line);
    match field.name() {
        "message" => out.write_str(&value),
        name => write!(out, "{name}={value}"),
    }
}

/// Writes records of the JSON format. Each call has a complete record.
#[derive(Debug, Clone, Copy)]
struct EscapedJson;

impl Write for EscapedJson {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(record);
        io::stderr().write_all(escape(&text, Context::Json).as_bytes())?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for EscapedJson {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}
