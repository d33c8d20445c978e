//! `plan`: which layers would go where, and how fast that could be at best, before anything is
//! loaded.

mod cards;
mod predict;
mod report;
mod words;

pub(crate) use words::note;

use std::process::ExitCode;

use clap::Args;
use moss::{
    Checkpoint,
    checkpoint::{DType, LinearFormat},
    hub::HubError,
    model::{
        CacheShape, ComputeDtype, MossConfig, WeightFormat,
        placement::{Card, CardKind, ModelBytes, Request, place},
    },
    weights::GptqBits,
};

use crate::{
    args::{Cli, FormatArg, ModelArgs, above_zero},
    errors::Failed,
    open,
    printer::Printer,
};

use predict::Prediction;
use report::Report;

/// Every format that is published, largest first.
const FORMATS: [FormatArg; 3] = [FormatArg::Fp16, FormatArg::Int8, FormatArg::Int4];

/// Say which layers would go to which card, and how fast that could be at best
///
/// Nothing is loaded, and no files are needed for the published models. `--cards` takes cards that
/// this machine need not have; without it, `--gpu` says which of this machine's are meant.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Cards by name, in the order of the layers: t4, a10, l4, l40s, a100-40, a100-80, h100, h200,
    /// rtx2080ti, rtx3090, rtx4090, cpu
    #[arg(long, value_name = "CARD,CARD…", value_delimiter = ',')]
    cards: Vec<String>,
    /// Format of the weights [default: the checkpoint's, or what the model's name says]
    #[arg(long, value_name = "FORMAT")]
    format: Option<FormatArg>,
    /// Tokens that the cache has room for [default: the model's window]
    #[arg(long, value_name = "N")]
    context: Option<usize>,
    /// GB a second that the CPU reads [default: measured now]
    #[arg(long, value_name = "GB/s", value_parser = above_zero)]
    cpu_bandwidth: Option<f64>,
    /// GB of host memory that may be used [default: what is available now]
    #[arg(long, value_name = "GB", value_parser = above_zero)]
    cpu_memory: Option<f64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &PlanArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    if !args.cards.is_empty() && cli.model.gpu.is_some() {
        let what = (
            "`--cards` and `--gpu` both say where the layers go",
            "`--cards` 和 `--gpu` 都指定了各层的位置",
        );
        let hint = (
            "`--cards` is for cards by name, `--gpu` for those of this machine",
            "`--cards` 按名称给出显卡，`--gpu` 指本机的显卡：请只用其一",
        );
        return Err(Failed::new(what).hint(hint).into());
    }
    let planned = cards::cards(args, &cli.model)?;
    let cards: Vec<Card> = planned.iter().map(|planned| planned.card.clone()).collect();
    let any_gpu = cards.iter().any(|card| card.kind != CardKind::Cpu);
    let dtype = match any_gpu {
        true => ComputeDtype::F16,
        false => open::dtype(&cli.model, &[]),
    };
    let subject = Subject::find(args, cli, printer, dtype)?;
    let request = Request {
        model: &subject.bytes,
        cards: &cards,
        layers_per_card: cli.model.layers_per_gpu.as_deref(),
        other_formats: &subject.smaller(dtype),
    };
    let placement = place(&request)?;
    let prediction = Prediction::of(&placement, &planned, &subject);
    let report = Report {
        subject: &subject,
        cards: &cards,
        placement: &placement,
        prediction: &prediction,
    };
    match args.json {
        true => printer.json(&report.json())?,
        false => {
            printer.report(&report.text(printer.language, !args.cards.is_empty() && any_gpu))?
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The model that is planned for.
struct Subject {
    name: String,
    /// What the weights are, for people.
    format: String,
    is_packed: bool,
    config: MossConfig,
    cache: CacheShape,
    bytes: ModelBytes,
}

impl Subject {
    /// A checkpoint's own tensors where there is one, the published sizes where there is none.
    fn find(
        args: &PlanArgs,
        cli: &Cli,
        printer: &Printer,
        dtype: ComputeDtype,
    ) -> anyhow::Result<Self> {
        let named =
            |config: MossConfig, name: String, format: WeightFormat| -> anyhow::Result<Self> {
                let cache = cache(args, &config)?;
                let bytes = ModelBytes::in_format(&config, format, cache, dtype);
                let is_packed = format != WeightFormat::F16;
                Ok(Self {
                    name,
                    format: format.to_string(),
                    is_packed,
                    config,
                    cache,
                    bytes,
                })
            };
        let found = match open::find(&cli.model) {
            Ok(found) => found,
            Err(error) => {
                let absent = matches!(error.downcast_ref(), Some(HubError::NotFound { .. }));
                return match published(&cli.model.model).filter(|_| absent) {
                    Some(by_name) => {
                        let format = args.format.map_or(by_name, FormatArg::format);
                        named(MossConfig::moon_003(), "MOSS-moon-003".into(), format)
                    }
                    None => Err(error),
                };
            }
        };
        let mapped = ModelArgs {
            no_mmap: false,
            ..cli.model.clone()
        }; // only headers are read
        let checkpoint = open::checkpoint(&found.folder, &mapped, printer)?;
        let config = MossConfig::try_from(checkpoint.config())?;
        if let Some(format) = args.format {
            return named(config, found.name, format.format());
        }
        let cache = cache(args, &config)?;
        Ok(Self {
            name: found.name,
            format: stored_format(&checkpoint),
            is_packed: checkpoint.quantization().is_some(),
            bytes: ModelBytes::of(&checkpoint, &config, cache, dtype),
            config,
            cache,
        })
    }

    /// The same network in the formats that take less.
    fn smaller(&self, dtype: ComputeDtype) -> Vec<(WeightFormat, ModelBytes)> {
        let total = |bytes: &ModelBytes| bytes.layers.iter().sum::<u64>();
        FORMATS
            .map(|format| format.format())
            .map(|format| {
                (
                    format,
                    ModelBytes::in_format(&self.config, format, self.cache, dtype),
                )
            })
            .into_iter()
            .filter(|(_, bytes)| total(bytes) < total(&self.bytes))
            .collect()
    }
}

/// How the linear layers are stored, and how many in which way where they differ.
fn stored_format(checkpoint: &Checkpoint) -> String {
    let name = |format: &LinearFormat| match format {
        LinearFormat::Gptq(found) => format!("int{}", found.bits),
        LinearFormat::Dense(DType::F16) => "fp16".into(),
        LinearFormat::Dense(dtype) => dtype.to_string(),
    };
    match checkpoint.linear_formats() {
        [] => "fp16".into(),
        [(format, _)] => name(format),
        formats => {
            let part = |(format, count): &(LinearFormat, usize)| match format {
                LinearFormat::Gptq(found) => {
                    format!("{} group {} x {count}", name(format), found.group_size)
                }
                LinearFormat::Dense(_) => format!("{} x {count}", name(format)),
            };
            format!(
                "mixed ({})",
                formats.iter().map(part).collect::<Vec<_>>().join(", ")
            )
        }
    }
}

/// The format of a published checkpoint, by its name.
fn published(name: &str) -> Option<WeightFormat> {
    let name = name
        .rsplit('/')
        .next()
        .filter(|name| name.starts_with("moss-moon-003"))?;
    Some(match name {
        _ if name.ends_with("-int4") => WeightFormat::Gptq(GptqBits::Four),
        _ if name.ends_with("-int8") => WeightFormat::Gptq(GptqBits::Eight),
        _ => WeightFormat::F16,
    })
}

fn cache(args: &PlanArgs, config: &MossConfig) -> Result<CacheShape, Failed> {
    let window = config.context_length;
    match args.context.unwrap_or(window) {
        positions if (1..=window).contains(&positions) => Ok(CacheShape::for_positions(positions)),
        positions => {
            let what = (
                format!("`--context {positions}`: expected 1 to the model's window of {window}"),
                format!("`--context {positions}`：应为 1 至模型的上下文窗口 {window}"),
            );
            let hint = (
                "leave it out for the whole window",
                "不给此参数即为整个窗口",
            );
            Err(Failed::new(what).hint(hint))
        }
    }
}
