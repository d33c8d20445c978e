//! `quantize`: linear layers to 4 or 8 bits, and what that does to the model.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use moss::{
    quantize::{
        DeviceSpec, LinearReport, Method, Perplexity, QuantizeOptions, Sample, built_in_samples,
        perplexity, quantize, read_samples,
    },
    weights::GptqBits,
};
use serde_json::json;

use super::{convert::ContainerArg, eval};
use crate::{
    args::Cli,
    errors::Failed,
    fold::{left, right},
    messages::{Language, Message},
    open,
    printer::Printer,
    progress,
};

/// Of so many texts one is kept out of calibration, to measure with.
const MEASURED: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MethodArg {
    /// Errors are made up for, on calibration text
    Gptq,
    /// Round to nearest: fast, less exact
    Rtn,
}

/// Quantise the linear layers of an fp16 checkpoint, in the published layout
///
/// GPTQ runs calibration text through the network layer by layer, on the first device of `--gpu`.
/// Prints the error of every layer, and the perplexity before and after on texts that were kept out
/// of calibration.
#[derive(Debug, Args)]
pub(crate) struct QuantizeArgs {
    /// The checkpoint: a folder, a hub id or a short name
    #[arg(id = "src", value_name = "SRC")]
    source: PathBuf,
    /// The folder to write
    #[arg(value_name = "DST")]
    target: PathBuf,
    /// Bits of a weight
    #[arg(long, value_name = "4|8", default_value = "4", value_parser = bits)]
    bits: GptqBits,
    /// Inputs that share a scale; -1 for all of a layer
    #[arg(long, value_name = "N", default_value_t = 128, allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1..))]
    group_size: i32,
    /// How weights are rounded
    #[arg(long, value_name = "METHOD", default_value = "gptq")]
    method: MethodArg,
    /// Round the weights of the strongest inputs first: nearer to fp16, but groups no longer follow
    /// each other
    #[arg(long)]
    act_order: bool,
    /// Share of the mean diagonal that is added to the Hessian's diagonal
    #[arg(long, value_name = "X", default_value_t = 0.01)]
    dampening: f64,
    /// Calibration: a text, or .jsonl with {"turns": [{"user", "moss"}]} or {"text"} a line
    /// [default: short dialogues that come with this program]
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Windows of calibration at most
    #[arg(long, value_name = "N", default_value_t = 128)]
    samples: usize,
    /// The container to write
    #[arg(long, value_name = "CONTAINER", default_value = "bin")]
    container: ContainerArg,
    /// Replace a checkpoint that is in DST already
    #[arg(long)]
    force: bool,
    /// Do not measure perplexity
    #[arg(long)]
    no_perplexity: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn bits(text: &str) -> Result<GptqBits, Failed> {
    match text {
        "4" => Ok(GptqBits::Four),
        "8" => Ok(GptqBits::Eight),
        _ => Err(Failed::new(("expected 4 or 8", "应为 4 或 8"))),
    }
}

pub(crate) fn run(args: &QuantizeArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let source = open::folder(&args.source, &cli.model)?;
    open::check_room(&source, &cli.model)?;
    open::pool(&cli.model)?.install(|| {
        let (calibration, measured) = texts(args, cli, &source)?;
        let method = match args.method {
            MethodArg::Rtn => {
                printer.say(Message::RoundingToNearest);
                Method::Nearest
            }
            MethodArg::Gptq => {
                if args.calibration.is_none() {
                    printer.say(Message::BuiltInCalibration {
                        texts: calibration.len(),
                    });
                }
                Method::Gptq {
                    samples: calibration,
                    act_order: args.act_order,
                    dampening: args.dampening,
                }
            }
        };
        let options = QuantizeOptions {
            bits: args.bits,
            group_size: usize::try_from(args.group_size).ok(),
            method,
            device: open::devices(&cli.model)?
                .first()
                .copied()
                .unwrap_or(DeviceSpec::Cpu),
            container: args.container.into(),
            max_shard_bytes: match args.container {
                ContainerArg::Bin => u64::MAX, // the published ones are one file, whatever its size
                ContainerArg::Safetensors => 5_000_000_000,
            },
            storage: open::storage(&cli.model),
            replace: args.force,
        };
        let mut bar = progress::quantization(printer);
        let reports = quantize(&source, &args.target, &options, &|| false, &mut bar)?;
        let measure = |folder: &Path| {
            if args.no_perplexity || measured.is_empty() {
                return None;
            }
            let loaded = eval::load(folder, &cli.model, printer, None, None);
            let found = loaded.and_then(|(mut model, windows)| {
                Ok(perplexity(&mut model, &measured, windows, &|| false)?)
            });
            // The folder is whole: what cannot be measured here, as fp16 where int4 alone fits, can
            // be elsewhere.
            let failed = |error| {
                let (folder, causes) = (
                    &folder.display().to_string(),
                    &printer.causes(&error).replace("\n  ", ": "),
                );
                printer.warning(&Message::NotMeasured { folder, causes }.into());
            };
            found.map_err(failed).ok()
        };
        let (before, after) = (measure(&source), measure(&args.target));
        if args.json {
            let value = |found: Option<Perplexity>| found.map(|found| found.value());
            let tokens = before.or(after).map(|found| found.tokens);
            let perplexity =
                json!({ "before": value(before), "after": value(after), "tokens": tokens });
            printer.json(&json!({ "linears": reports, "perplexity": perplexity }))?;
        } else {
            printer.report(&table(&reports, before, after, printer.language))?;
        }
        printer.say(Message::Wrote {
            folder: &args.target.display().to_string(),
        });
        Ok(ExitCode::SUCCESS)
    })
}

/// What to calibrate with, and what to measure on: every tenth text. A single text is cut into
/// windows first. Without a tokenizer there is nothing to measure on.
fn texts(
    args: &QuantizeArgs,
    cli: &Cli,
    source: &Path,
) -> anyhow::Result<(Vec<Sample>, Vec<Sample>)> {
    let needs_text = args.method == MethodArg::Gptq || args.calibration.is_some();
    if !needs_text && !moss::Tokenizer::is_present(source) {
        return Ok((vec![], vec![]));
    }
    let builder = eval::prompt_builder(source, cli)?;
    let samples = match &args.calibration {
        Some(file) => read_samples(file, &builder)?,
        None => built_in_samples(&builder)?,
    };
    let window = eval::context_length(source)?;
    let samples: Vec<Sample> = samples
        .iter()
        .flat_map(|sample| sample.windows(window))
        .collect();
    if samples.len() < MEASURED {
        return Ok((samples.clone(), samples));
    }
    let (mut calibration, mut measured) = (vec![], vec![]);
    for (index, sample) in samples.into_iter().enumerate() {
        if index % MEASURED == MEASURED - 1 {
            &mut measured
        } else {
            &mut calibration
        }
        .push(sample);
    }
    // Spread over the whole file, which may go topic by topic.
    let step = calibration.len().div_ceil(args.samples.max(1)).max(1);
    Ok((calibration.into_iter().step_by(step).collect(), measured))
}

fn table(
    reports: &[LinearReport],
    before: Option<Perplexity>,
    after: Option<Perplexity>,
    language: Language,
) -> String {
    let [error, weights, outputs] = language.pick(
        ["squared error, share of", "weights", "outputs"],
        ["平方误差，占比", "权重", "输出"],
    );
    let mut text = format!(
        "{} {} {}\n",
        left(error, 40),
        right(weights, 14),
        right(outputs, 14)
    );
    for report in reports {
        let output = report
            .output_error
            .map_or("-".into(), |error| format!("{error:.3e}"));
        text += &format!(
            "{:<40} {:>14.3e} {output:>14}\n",
            report.linear, report.weight_error
        );
    }
    if let Some(Perplexity { tokens, .. }) = before.or(after) {
        let value = |found: Option<Perplexity>| {
            let unknown = || language.pick("not measured", "未测量").into();
            found.map_or_else(unknown, |found| format!("{:.4}", found.value()))
        };
        let (before, after) = (value(before), value(after));
        text += &language.pick(
            format!("perplexity {before} before, {after} after ({tokens} tokens)\n"),
            format!("困惑度：量化前 {before}，量化后 {after}（{tokens} 个词元）\n"),
        );
    }
    text
}
