//! `tokenize`: JSON lines in, JSON lines out, for comparing with the Python tokenizer.

use std::{
    io::{BufRead, stdin},
    process::ExitCode,
};

use moss::{Tokenizer, text::Specials, unicode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    args::{Cli, TokenizeArgs},
    errors::{OrFail, build_failed},
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
        let mut line = line.or_fail("cannot read stdin", "无法读取标准输入")?;
        if number == 0 {
            let text = unicode::decode_start(&line);
            line = text
                .or_fail("cannot read stdin as text", "无法将标准输入作为文本读取")?
                .to_vec();
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
    let line = serde_json::from_slice(line).or_fail(
        "expected {\"text\": …} or {\"ids\": […]}",
        "应为 {\"text\": …} 或 {\"ids\": […]}",
    )?;
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
