//! `cache`: lists and clears the prompt cache.

use std::{process::ExitCode, time::SystemTime};

use moss::{
    prompt_cache::{Entry, PromptCache},
    unicode::{Context, escape},
};
use moss_messages::{Text, msg};
use serde_json::{Value, json};

use crate::{
    args::{CacheAction, CacheArgs, Cli},
    errors::CliError,
    messages::size,
    open,
    printer::Printer,
};

pub(crate) fn run(args: &CacheArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let cache = open::prompt_cache(&cli.model);
    let cache = cache.ok_or_else(|| CliError::new(msg!("prompt-cache-off")))?;
    match args.action {
        CacheAction::List => list(&cache, args.json, printer)?,
        CacheAction::Clear => clear(&cache, args.json, printer)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(cache: &PromptCache, as_json: bool, printer: &Printer) -> anyhow::Result<()> {
    let entries = cache.list()?;
    let bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
    let folder = cache.folder().display().to_string();
    if as_json {
        let files: Vec<_> = entries.iter().map(to_json).collect();
        printer.json(&json!({ "folder": folder, "bytes": bytes, "files": files }))?;
        return Ok(());
    }
    let folder = escape(&folder, Context::Line);
    let (count, total) = (entries.len(), size(bytes));
    let title = printer.text(&msg!("prompt-cache", folder, count, total));
    let lines = entries.iter().map(|entry| line(entry, printer));
    let lines: String = lines.map(|line| format!("  {line}\n")).collect();
    printer.report(&format!("{title}\n{lines}"))?;
    Ok(())
}

fn clear(cache: &PromptCache, as_json: bool, printer: &Printer) -> anyhow::Result<()> {
    let (count, bytes) = cache.clear()?;
    if as_json {
        printer.json(&json!({ "files": count, "bytes": bytes }))?;
    } else {
        let total = size(bytes);
        let text = printer.text(&msg!("prompt-cache-cleared", count, total));
        printer.report(&format!("{text}\n"))?;
    }
    Ok(())
}

/// Returns the seconds since the last use.
fn unused(entry: &Entry) -> u64 {
    let elapsed = SystemTime::now().duration_since(entry.used);
    elapsed.map_or(0, |elapsed| elapsed.as_secs())
}

fn to_json(entry: &Entry) -> Value {
    let mut file = json!({
        "file": entry.path.display().to_string(),
        "bytes": entry.bytes,
        "unused_s": unused(entry),
    });
    match &entry.prefix {
        Ok(prefix) => {
            file["model"] = json!(prefix.model);
            file["tokens"] = json!(prefix.blocks() * prefix.block_size);
        }
        Err(fault) => file["fault"] = json!(fault.to_string()),
    }
    file
}

fn line(entry: &Entry, printer: &Printer) -> String {
    let (bytes, unused) = (size(entry.bytes), ago(unused(entry)));
    let text = match &entry.prefix {
        Ok(prefix) => {
            let model = escape(&prefix.model, Context::Line);
            let tokens = prefix.blocks() * prefix.block_size;
            let unused = printer.text(&unused);
            msg!("prompt-cache-file", model, tokens, bytes, unused)
        }
        Err(fault) => {
            let fault = printer.text(fault);
            let fault = escape(&fault, Context::Line);
            msg!("plain", value = fault)
        }
    };
    printer.text(&text)
}

/// Returns a text for a time in the past.
fn ago(seconds: u64) -> Text {
    match seconds {
        0..120 => msg!("seconds-ago", count = seconds),
        120..7200 => msg!("minutes-ago", count = seconds / 60),
        7200..172_800 => msg!("hours-ago", count = seconds / 3600),
        _ => msg!("days-ago", count = seconds / 86_400),
    }
}
