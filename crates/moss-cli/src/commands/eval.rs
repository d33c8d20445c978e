//! `eval`: what a checkpoint is worth on a text, alone or beside another.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use moss::{
    Checkpoint, Moss, PromptBuilder, SystemText, Tokenizer,
    model::MossConfig,
    quantize::{Perplexity, Windows, agreement, perplexity, read_samples},
    text::PluginSwitches,
};
use serde_json::json;

use crate::{
    args::{ActivationsArg, Cli, ModelArgs},
    errors::OrFail,
    open,
    printer::Printer,
    progress,
};

/// Measure perplexity on a text, and agreement with another checkpoint
///
/// Long texts are read through overlapping windows; every token counts once. Of dialogues the replies count.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// A text, or .jsonl with {"turns": [{"user", "moss"}]} or {"text"} a line
    #[arg(long, value_name = "FILE", required = true)]
    perplexity: PathBuf,
    /// The reference: KL(OTHER || model) and how often the likeliest tokens agree. Its activations are exact
    #[arg(long, value_name = "OTHER")]
    against: Option<PathBuf>,
    /// Tokens of a window [default: the model's]
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// Tokens from one window to the next [default: half a window]
    #[arg(long, value_name = "N")]
    stride: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &EvalArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let folder = open::find(&cli.model)?.folder;
    let other = args.against.as_ref().map(|name| open::folder(name, &cli.model)).transpose()?;
    let samples = read_samples(&args.perplexity, &prompt_builder(&folder, cli)?)?;
    open::pool(&cli.model)?.install(|| {
        let (mut model, windows) = load(&folder, &cli.model, printer, args.window, args.stride)?;
        let Windows { window, stride } = windows;
        let Some(other) = other else {
            let found = perplexity(&mut model, &samples, windows, &|| false)?;
            printer.answer(&match args.json {
                true => format!("{}\n", json!({ "model": of(found), "window": window, "stride": stride })),
                false => line("perplexity", found, windows),
            })?;
            return Ok(ExitCode::SUCCESS);
        };
        let exact = ModelArgs { activations: ActivationsArg::Exact, ..cli.model.clone() };
        let (mut reference, _) = load(&other, &exact, printer, Some(window), Some(stride))?;
        let found = agreement(&mut reference, &mut model, &samples, windows, &|| false)?;
        let (kl, top_1) = (found.mean_kl, found.top_1);
        printer.answer(&if args.json {
            let text = json!({
                "model": of(found.other), "reference": of(found.reference), "mean_kl": kl, "top_1": top_1,
                "window": window, "stride": stride,
            });
            format!("{text}\n")
        } else {
            line("perplexity", found.other, windows)
                + &line("of the reference", found.reference, windows)
                + &format!(
                    "{:<17} {kl:.3e} nats a token\n{:<17} {:.2} %\n",
                    "KL",
                    "same best token",
                    100.0 * top_1
                )
        })?;
        Ok(ExitCode::SUCCESS)
    })
}

fn of(found: Perplexity) -> serde_json::Value {
    json!({ "perplexity": found.value(), "mean_loss": found.mean_loss, "tokens": found.tokens })
}

fn line(what: &str, found: Perplexity, windows: Windows) -> String {
    let (value, tokens, Windows { window, stride }) = (found.value(), found.tokens, windows);
    format!("{what:<17} {value:.4} ({tokens} tokens, windows of {window} every {stride})\n")
}

/// The model of a folder with a cache for one window, where and how the flags say.
pub(super) fn load(
    folder: &Path,
    args: &ModelArgs,
    printer: &Printer,
    window: Option<usize>,
    stride: Option<usize>,
) -> anyhow::Result<(Moss, Windows)> {
    let checkpoint = open::checkpoint(folder, printer)?;
    let longest = MossConfig::try_from(checkpoint.config())?.context_length;
    let whole = Windows::of(window.unwrap_or(longest));
    let windows = Windows { stride: stride.unwrap_or(whole.stride), ..whole };
    let options = open::load_options(args, windows.window.min(longest))?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let model = Moss::load(&checkpoint, &options, &mut progress::bar(printer, &name));
    Ok((model.or_fail("cannot load the model", "无法加载模型")?, windows))
}

pub(super) fn context_length(folder: &Path) -> anyhow::Result<usize> {
    Ok(MossConfig::try_from(Checkpoint::open(folder)?.config())?.context_length)
}

/// What makes token ids of texts and dialogues.
pub(super) fn prompt_builder(folder: &Path, cli: &Cli) -> anyhow::Result<PromptBuilder> {
    let system = cli.answer.system.clone().map_or(SystemText::Published, SystemText::Custom);
    let plugins = folder.to_string_lossy().contains("-plugin").then(PluginSwitches::default);
    Ok(PromptBuilder::new(Tokenizer::from_folder(folder)?, system, plugins)?)
}
