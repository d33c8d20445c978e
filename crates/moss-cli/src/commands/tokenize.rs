//! `tokenize`: converts JSON lines, for comparison with the Python tokenizer.

use std::{
    io::{BufRead, stdin},
    process::ExitCode,
};

use moss::{Tokenizer, text::Specials, unicode};
use serde::Deserialize;
use serde_json::{Value, json};

use moss_messages::msg;

use crate::{
    args::{Cli, TokenizeArgs},
    errors::{Context, build_failed},
    printer::Printer,
    source,
};

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Text { text: String },
    Ids { ids: Vec<u32> },
}

pub(crate) fn run(_: &TokenizeArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let found = source::model(&cli.model).find().map_err(build_failed)?;
    let tokenizer = Tokenizer::from_folder(found.folder())?;
    let mut failed = false;
    for (number, line) in stdin().lock().split(b'\n').enumerate() {
        let mut line = line.context(msg!("cannot-read-stdin"))?;
        if number == 0 {
            let text = unicode::decode_start(&line);
            line = text.context(msg!("stdin-not-text"))?.to_vec();
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let answer = answer(&tokenizer, &line).unwrap_or_else(|error| {
            failed = true;
            json!({ "error": error.to_string() })
        });
        printer.json(&answer)?;
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn answer(tokenizer: &Tokenizer, line: &[u8]) -> anyhow::Result<Value> {
    let line = serde_json::from_slice(line).context(msg!("tokenize-line"))?;
    Ok(match line {
        Line::Text { text } => json!({ "ids": tokenizer.encode(&text)? }),
        Line::Ids { ids } => {
            tokenizer.check_ids(&ids)?;
            json!({
                "text": tokenizer.decode(&ids, Specials::Show),
                "text_skip_special": tokenizer.decode(&ids, Specials::Skip),
            })
        }
    })
}
