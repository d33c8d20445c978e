//! `quantize`: quantizes linear layers to 4 or 8 bits, and measures the effect on perplexity.

use std::process::ExitCode;

use moss::{
    Builder, Found,
    quantize::{
        DeviceSpec, LinearReport, Method, Perplexity, QuantizeOptions, Sample, built_in_samples,
        perplexity, quantize, read_samples,
    },
};
use serde_json::json;

use super::eval;
use moss_messages::{Language, msg};

use crate::{
    args::{Cli, ContainerArg, MethodArg, QuantizeArgs},
    errors::build_failed,
    fold::{left, right},
    open,
    printer::Printer,
    progress, source,
};

/// One of this many texts is used to measure perplexity, not for calibration.
const MEASURE_EVERY: usize = 10;

pub(crate) fn run(args: &QuantizeArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let builder = open::builder(source::at(&args.source, &cli.model), cli, printer)?;
    let mut found = open::find_local(builder, &cli.model)?;
    open::pool(&cli.model)?.install(|| {
        let (calibration, measured) = texts(args, &found)?;
        let method = match args.method {
            MethodArg::Rtn => {
                printer.say(msg!("rounding-to-nearest"));
                Method::Nearest
            }
            MethodArg::Gptq => {
                if args.calibration.is_none() {
                    printer.say(msg!("built-in-calibration", texts = calibration.len()));
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
                ContainerArg::Bin => u64::MAX, // the published quantized models are one file
                ContainerArg::Safetensors => 5_000_000_000,
            },
            storage: open::storage(&cli.model),
            replace: args.force,
        };
        let mut bar = progress::quantization(printer);
        let reports = quantize(found.folder(), &args.target, &options, &|| false, &mut bar)?;
        let measure = |found: &mut Found| {
            if args.no_perplexity || measured.is_empty() {
                return None;
            }
            let loaded = open::check_room(found, &cli.model)
                .map_err(Into::into)
                .and_then(|()| eval::load(found, None, None));
            let perplexity = loaded.and_then(|(mut model, windows)| {
                Ok(perplexity(&mut *model, &measured, windows, &|| false)?)
            });
            // The folder is complete, so this is only a warning. Perplexity can be measured on
            // another machine, for example if only int4 fits this one.
            let failed = |error| {
                let causes = printer.causes(&error).replace("\n  ", ": ");
                let folder = found.folder();
                printer.warning(&msg!("perplexity-not-measured", folder, causes));
            };
            perplexity.map_err(failed).ok()
        };
        let target = open::builder(Builder::folder(args.target.as_path()), cli, printer)?;
        let mut target = target.find().map_err(build_failed)?;
        let (before, after) = (measure(&mut found), measure(&mut target));
        if args.json {
            let value = |found: Option<Perplexity>| found.map(|found| found.value());
            let tokens = before.or(after).map(|found| found.tokens);
            let perplexity =
                json!({ "before": value(before), "after": value(after), "tokens": tokens });
            printer.json(&json!({ "linears": reports, "perplexity": perplexity }))?;
        } else {
            printer.report(&table(&reports, before, after, printer.language))?;
        }
        printer.say(msg!("wrote", folder = args.target));
        Ok(ExitCode::SUCCESS)
    })
}

/// Returns the texts for calibration, and every tenth text for the measurement. A single text is
/// split into windows first. Without a tokenizer, both are empty.
fn texts(args: &QuantizeArgs, found: &Found) -> anyhow::Result<(Vec<Sample>, Vec<Sample>)> {
    let needs_text = args.method == MethodArg::Gptq || args.calibration.is_some();
    if !needs_text && !moss::Tokenizer::is_present(found.folder()) {
        return Ok((vec![], vec![]));
    }
    let builder = found.prompts().map_err(build_failed)?;
    let samples = match &args.calibration {
        Some(file) => read_samples(file, &builder)?,
        None => built_in_samples(&builder)?,
    };
    let window = found.config().map_err(build_failed)?.context_length;
    let samples: Vec<Sample> = samples
        .iter()
        .flat_map(|sample| sample.windows(window))
        .collect();
    if samples.len() < MEASURE_EVERY {
        return Ok((samples.clone(), samples));
    }
    let (mut calibration, mut measured) = (vec![], vec![]);
    for (index, sample) in samples.into_iter().enumerate() {
        if index % MEASURE_EVERY == MEASURE_EVERY - 1 {
            &mut measured
        } else {
            &mut calibration
        }
        .push(sample);
    }
    // Samples are spread over the whole file, which may be ordered by topic.
    let step = calibration.len().div_ceil(args.samples.max(1)).max(1);
    Ok((calibration.into_iter().step_by(step).collect(), measured))
}

fn table(
    reports: &[LinearReport],
    before: Option<Perplexity>,
    after: Option<Perplexity>,
    language: Language,
) -> String {
    let heads = language.text(&msg!("quantize-columns"));
    let widths = [left as fn(&str, usize) -> String, right, right]
        .into_iter()
        .zip([40, 14, 14]);
    let heads = heads.split(" | ").zip(widths);
    let heads: Vec<_> = heads.map(|(head, (pad, width))| pad(head, width)).collect();
    let mut text = heads.join(" ") + "\n";
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
            let unknown = || language.text(&msg!("not-measured"));
            found.map_or_else(unknown, |found| format!("{:.4}", found.value()))
        };
        let (before, after) = (value(before), value(after));
        text += &format!(
            "{}\n",
            language.text(&msg!("quantize-perplexity", before, after, tokens))
        );
    }
    text
}
