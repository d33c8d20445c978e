//! `eval`: perplexity of a checkpoint on a text, and its agreement with another checkpoint.

use std::{path::PathBuf, process::ExitCode};

use moss::{
    Found,
    cpu::Activations,
    model::{KvCacheType, LanguageModel},
    quantize::{Perplexity, Windows, agreement, perplexity, read_samples},
};
use serde_json::json;

use moss_messages::{Language, Text, msg};

use crate::{
    args::{Cli, EvalArgs},
    errors::build_failed,
    fold::left,
    open,
    printer::Printer,
    source,
};

/// Width of a label on a terminal.
const LABEL: usize = 17;

pub(crate) fn run(args: &EvalArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let builder = open::builder(source::model(&cli.model), cli, printer)?;
    let mut found = open::find_local(builder, &cli.model)?;
    let find = |name: &PathBuf| {
        let builder = open::builder(source::at(name, &cli.model), cli, printer)?;
        let exact = builder
            .activations(Activations::Exact)
            .kv_cache(KvCacheType::Native);
        open::find_local(exact, &cli.model)
    };
    let other = args.against.as_ref().map(find).transpose()?;
    let samples = read_samples(&args.perplexity, &found.prompts().map_err(build_failed)?)?;
    open::pool(&cli.model)?.install(|| {
        let (mut model, windows) = load(&mut found, args.window, args.stride)?;
        let Windows { window, stride } = windows;
        let Some(mut other) = other else {
            let found = perplexity(&mut *model, &samples, windows, &|| false)?;
            match args.json {
                true => {
                    printer.json(&json!({ "model": of(found), "window": window, "stride": stride }))?;
                }
                false => printer.report(&Lines(printer.language).perplexity(msg!("eval-perplexity"), found, windows))?,
            }
            return Ok(ExitCode::SUCCESS);
        };
        let (mut reference, _) = load(&mut other, Some(window), Some(stride))?;
        let found = agreement(&mut *reference, &mut *model, &samples, windows, &|| false)?;
        let (kl, top_1) = (found.mean_kl, found.top_1);
        if args.json {
            printer.json(&json!({
                "model": of(found.other), "reference": of(found.reference), "mean_kl": kl, "top_1": top_1,
                "window": window, "stride": stride,
            }))?;
        } else {
            let lines = Lines(printer.language);
            let text = lines.perplexity(msg!("eval-perplexity"), found.other, windows)
                + &lines.perplexity(msg!("eval-reference"), found.reference, windows)
                + &lines
                    .line(msg!("plain", value = "KL"), msg!("eval-kl", kl = format!("{kl:.3e}")))
                + &lines.line(
                    msg!("eval-top1"),
                    msg!("plain", value = format!("{:.2} %", 100.0 * top_1)),
                );
            printer.report(&text)?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn of(found: Perplexity) -> serde_json::Value {
    json!({ "perplexity": found.value(), "mean_loss": found.mean_loss, "tokens": found.tokens })
}

/// Report lines in one language: a label and a value.
struct Lines(Language);

impl Lines {
    fn line(&self, label: Text, found: Text) -> String {
        format!(
            "{} {}\n",
            left(&self.0.text(&label), LABEL),
            self.0.text(&found)
        )
    }

    fn perplexity(&self, label: Text, found: Perplexity, windows: Windows) -> String {
        let (value, tokens, Windows { window, stride }) = (found.value(), found.tokens, windows);
        let found = msg!("eval-value", value, tokens, window, stride);
        self.line(label, found)
    }
}

/// Loads a model with a KV cache for one window.
pub(super) fn load(
    found: &mut Found,
    window: Option<usize>,
    stride: Option<usize>,
) -> anyhow::Result<(Box<dyn LanguageModel>, Windows)> {
    let longest = found.config().map_err(build_failed)?.context_length;
    let whole = Windows::of(window.unwrap_or(longest));
    let windows = Windows {
        stride: stride.unwrap_or(whole.stride),
        ..whole
    };
    let model = found.language_model(windows.window.min(longest));
    Ok((model.map_err(build_failed)?, windows))
}
