//! `eval`: what a checkpoint is worth on a text, alone or beside another.

use std::{path::Path, process::ExitCode};

use moss::{
    Moss, PromptBuilder, SystemText, Tokenizer,
    checkpoint::RawConfig,
    model::MossConfig,
    quantize::{Perplexity, Windows, agreement, perplexity, read_samples},
    text::PluginSwitches,
};
use serde_json::json;

use crate::{
    args::{ActivationsArg, Cli, EvalArgs, ModelArgs},
    errors::OrFail,
    fold::left,
    messages::{Language, Words},
    open,
    printer::Printer,
    progress, source,
};

const PERPLEXITY: (&str, &str) = ("perplexity", "困惑度");

/// Places of a label on a terminal.
const LABEL: usize = 17;

pub(crate) fn run(args: &EvalArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let folder = source::find(&cli.model)?.folder;
    let other = args
        .against
        .as_ref()
        .map(|name| source::folder(name, &cli.model))
        .transpose()?;
    let samples = read_samples(&args.perplexity, &prompt_builder(&folder, cli)?)?;
    open::pool(&cli.model)?.install(|| {
        let (mut model, windows) = load(&folder, &cli.model, printer, args.window, args.stride)?;
        let Windows { window, stride } = windows;
        let Some(other) = other else {
            let found = perplexity(&mut model, &samples, windows, &|| false)?;
            match args.json {
                true => {
                    printer.json(&json!({ "model": of(found), "window": window, "stride": stride }))?;
                }
                false => printer.report(&Lines(printer.language).perplexity(PERPLEXITY, found, windows))?,
            }
            return Ok(ExitCode::SUCCESS);
        };
        let exact = ModelArgs { activations: ActivationsArg::Exact, ..cli.model.clone() };
        let (mut reference, _) = load(&other, &exact, printer, Some(window), Some(stride))?;
        let found = agreement(&mut reference, &mut model, &samples, windows, &|| false)?;
        let (kl, top_1) = (found.mean_kl, found.top_1);
        if args.json {
            printer.json(&json!({
                "model": of(found.other), "reference": of(found.reference), "mean_kl": kl, "top_1": top_1,
                "window": window, "stride": stride,
            }))?;
        } else {
            let lines = Lines(printer.language);
            let text = lines.perplexity(PERPLEXITY, found.other, windows)
                + &lines.perplexity(("of the reference", "参照的困惑度"), found.reference, windows)
                + &lines
                    .line(("KL", "KL"), (format!("{kl:.3e} nats a token"), format!("{kl:.3e} nats/词元")))
                + &lines.line(
                    ("same best token", "首选词元一致率"),
                    Words::same(format!("{:.2} %", 100.0 * top_1)),
                );
            printer.report(&text)?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn of(found: Perplexity) -> serde_json::Value {
    json!({ "perplexity": found.value(), "mean_loss": found.mean_loss, "tokens": found.tokens })
}

/// Lines of one language: a label, and what was measured.
struct Lines(Language);

impl Lines {
    fn line(&self, (en, zh): (&str, &str), found: impl Into<Words>) -> String {
        format!(
            "{} {}\n",
            left(self.0.pick(en, zh), LABEL),
            found.into().of(self.0)
        )
    }

    fn perplexity(&self, label: (&str, &str), found: Perplexity, windows: Windows) -> String {
        let (value, tokens, Windows { window, stride }) = (found.value(), found.tokens, windows);
        let found = (
            format!("{value:.4} ({tokens} tokens, windows of {window} every {stride})"),
            format!("{value:.4}（{tokens} 个词元，窗口 {window}，间隔 {stride}）"),
        );
        self.line(label, found)
    }
}

/// The model of a folder with a cache for one window, where and how the flags say.
pub(super) fn load(
    folder: &Path,
    args: &ModelArgs,
    printer: &Printer,
    window: Option<usize>,
    stride: Option<usize>,
) -> anyhow::Result<(Moss, Windows)> {
    let checkpoint = open::checkpoint(folder, args, printer)?;
    let longest = MossConfig::try_from(checkpoint.config())?.context_length;
    let whole = Windows::of(window.unwrap_or(longest));
    let windows = Windows {
        stride: stride.unwrap_or(whole.stride),
        ..whole
    };
    let options = open::load_options(args, windows.window.min(longest))?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let model = Moss::load(&checkpoint, &options, &mut progress::bar(printer, &name));
    Ok((
        model.or_fail("cannot load the model", "无法加载模型")?,
        windows,
    ))
}

pub(super) fn context_length(folder: &Path) -> anyhow::Result<usize> {
    Ok(MossConfig::try_from(&RawConfig::read(folder)?)?.context_length)
}

/// What makes token ids of texts and dialogues.
pub(super) fn prompt_builder(folder: &Path, cli: &Cli) -> anyhow::Result<PromptBuilder> {
    let system = cli
        .answer
        .system
        .clone()
        .map_or(SystemText::Published, SystemText::Custom);
    let plugins = folder
        .to_string_lossy()
        .contains("-plugin")
        .then(PluginSwitches::default);
    Ok(PromptBuilder::new(
        Tokenizer::from_folder(folder)?,
        system,
        plugins,
    )?)
}
