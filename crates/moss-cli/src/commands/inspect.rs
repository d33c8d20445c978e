//! `inspect`: shows the contents of a checkpoint.

use std::{path::PathBuf, process::ExitCode};

use moss::{
    Checkpoint, Found, Tokenizer,
    checkpoint::{CheckpointError, FileCheck, LinearFormat, TensorInfo, ZeroPoints, check_files},
    model::{
        LinearKind, LinearShape, MossConfig,
        names::{EMBEDDING, FINAL_NORM, LM_HEAD},
    },
    unicode::{Context, escape},
};
use serde_json::json;

use moss_messages::{Arg, Language, Text, ToArg, msg};

use crate::{
    args::{Cli, InspectArgs},
    errors::{CliError, build_failed},
    messages::size,
    open,
    printer::Printer,
    progress, source,
};

pub(crate) fn run(args: &InspectArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let builder = match &args.path {
        Some(path) => source::at(path, &cli.model),
        None => source::model(&cli.model),
    };
    let builder = builder.storage(open::storage(&cli.model));
    let found = builder.find().map_err(build_failed)?;
    let report = Report::of(found, args, cli, printer)?;
    match args.json {
        true => printer.json(&report.to_json())?,
        false => printer.report(&report.to_text(printer.language))?,
    }
    Ok(if report.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A report on a checkpoint.
struct Report {
    folder: PathBuf,
    format: Text,
    files: Vec<String>,
    tensors: Vec<TensorInfo>,
    lists_tensors: bool,
    config: Option<MossConfig>,
    /// Number of tokens of the tokenizer, if there is one.
    tokens: Option<usize>,
    warnings: Vec<Arg>,
    problems: Vec<Arg>,
}

impl Report {
    fn of(
        mut found: Found,
        args: &InspectArgs,
        cli: &Cli,
        printer: &Printer,
    ) -> anyhow::Result<Self> {
        let files = match args.check {
            true => check_files(found.folder(), &mut progress::checking(printer))?,
            false => FileCheck::default(),
        };
        open::check_room(&found, &cli.model)?;
        let checkpoint = match found.checkpoint() {
            Ok(checkpoint) => checkpoint,
            // Damaged files are the most likely reason.
            Err(error) => return Err(damaged(files.damage, error)),
        };
        let mut problems: Vec<Arg> = files.damage.iter().map(ToArg::to_arg).collect();
        let mut or_problem = |problem: Arg| problems.push(problem);
        let folder = found.folder().to_owned();
        let config = MossConfig::try_from(checkpoint.config());
        let config = config.map_err(|error| or_problem(error.to_arg())).ok();
        let tokenizer = Tokenizer::is_present(&folder).then(|| Tokenizer::from_folder(&folder));
        let tokenizer = tokenizer
            .transpose()
            .map_err(|error| or_problem(error.to_arg()));
        let tokenizer = tokenizer.ok().flatten();
        let tokens = tokenizer.as_ref().map(Tokenizer::vocab_size);
        if let Some(config) = &config {
            let rows = config.vocab_size;
            if let Some(tokens) = tokens.filter(|tokens| *tokens > rows) {
                or_problem(msg!("inspect-rows", tokens, rows).to_arg());
            }
            problems.extend(tensor_problems(&checkpoint, config));
        }
        if args.check {
            problems.extend(floats(&checkpoint));
        }
        Ok(Self {
            folder,
            format: format(&checkpoint),
            files: checkpoint
                .weight_files()
                .map(|file| file.display().to_string())
                .collect(),
            tensors: checkpoint.tensor_infos().cloned().collect(),
            lists_tensors: args.tensors,
            config,
            tokens,
            warnings: checkpoint
                .warnings()
                .iter()
                .chain(&files.warnings)
                .map(ToArg::to_arg)
                .collect(),
            problems,
        })
    }

    fn bytes(&self) -> u64 {
        self.tensors.iter().map(TensorInfo::bytes).sum()
    }

    fn to_json(&self) -> serde_json::Value {
        let config = self.config.as_ref();
        let list = self.tensors.iter().map(
            |info| json!({"name": info.name, "dtype": info.dtype.to_string(), "shape": info.shape, "bytes": info.bytes()}),
        );
        let list: Option<Vec<_>> = self.lists_tensors.then(|| list.collect());
        json!({
            "folder": self.folder.display().to_string(), "format": self.format.to_string(), "files": self.files,
            "tensors": self.tensors.len(), "bytes": self.bytes(), "tensor_list": list,
            "layers": config.map(|c| c.num_layers), "hidden_size": config.map(|c| c.hidden_size),
            "num_heads": config.map(|c| c.num_heads), "vocab_size": config.map(|c| c.vocab_size),
            "context_length": config.map(|c| c.context_length),
            "cache_bytes_per_token": config.map(|c| c.cache_bytes_per_position(2)),
            "tokens": self.tokens, "warnings": english(&self.warnings), "problems": english(&self.problems),
        })
    }

    fn to_text(&self, language: Language) -> String {
        let (bytes, tensors, files) = (size(self.bytes()), self.tensors.len(), self.files.len());
        let mut lines = vec![
            msg!("inspect-format", format = self.format),
            msg!("inspect-weights", tensors, bytes, files),
        ];
        if let Some(config) = &self.config {
            lines.extend(network(config));
        }
        lines.push(match self.tokens {
            Some(tokens) => msg!("inspect-tokens", tokens),
            None => msg!("inspect-no-tokenizer"),
        });
        if self.lists_tensors {
            lines.extend(self.tensors.iter().map(|info| {
                let dtype = info.dtype.to_string();
                let value = format!("{:<52} {dtype:<5} {:?}", info.name, info.shape);
                msg!("plain", value)
            }));
        }
        let warnings = self.warnings.iter();
        lines.extend(warnings.map(|found| msg!("inspect-warning", found)));
        let problems = self.problems.iter();
        lines.extend(problems.map(|found| msg!("inspect-problem", found)));
        // Names of tensors and files may contain control characters.
        let shown = |line: &str| format!("{}\n", escape(line, Context::Line));
        let lines = lines.iter().map(|line| language.text(line));
        let lines: String = lines.map(|line| shown(&format!("  {line}"))).collect();
        format!("{}{lines}", shown(&self.folder.display().to_string()))
    }
}

fn english(found: &[Arg]) -> Vec<String> {
    found.iter().map(|found| found.text(Language::En)).collect()
}

fn network(config: &MossConfig) -> [Text; 2] {
    let MossConfig {
        num_layers,
        hidden_size,
        num_heads,
        head_dim,
        rotary_dim,
        ..
    } = config;
    let MossConfig {
        inner_size,
        vocab_size,
        context_length,
        ..
    } = config;
    let kib = config.cache_bytes_per_position(2) as f64 / 1024.0;
    [
        msg!(
            "inspect-network",
            num_layers,
            hidden_size,
            num_heads,
            head_dim,
            rotary_dim,
            inner_size,
            vocab_size,
            context_length
        ),
        msg!("inspect-cache", kib),
    ]
}

fn format(checkpoint: &Checkpoint) -> Text {
    let formats = checkpoint.linear_formats();
    match formats {
        [] => {
            let embedding = checkpoint
                .tensor_infos()
                .find(|info| info.name.ends_with("wte.weight"));
            embedding.map_or_else(
                || msg!("format-unknown"),
                |info| msg!("plain", value = info.dtype.to_string()),
            )
        }
        [(format, _)] => linears(format),
        _ => {
            let part = |(format, count): &(LinearFormat, usize)| {
                msg!("format-count", format = linears(format), count)
            };
            let parts: Vec<Text> = formats.iter().map(part).collect();
            msg!("format-mixed", parts)
        }
    }
}

/// Returns the format of linear layers.
fn linears(format: &LinearFormat) -> Text {
    match format {
        LinearFormat::Dense(dtype) => msg!("plain", value = dtype.to_string()),
        LinearFormat::Gptq(q) => {
            let mut format = msg!("format-gptq", bits = q.bits.bits(), group = q.group_size);
            if q.act_order {
                format = msg!("format-gptq-act-order", format);
            }
            match q.zero_points {
                ZeroPoints::LessOne => format,
                ZeroPoints::Plain => msg!("format-gptq-v2", format),
            }
        }
    }
}

/// Returns the problems of the tensors that the network needs, without reading matrices.
fn tensor_problems(checkpoint: &Checkpoint, config: &MossConfig) -> Vec<Arg> {
    let (hidden, vocab) = (config.hidden_size, config.vocab_size);
    let mut shapes = vec![
        (EMBEDDING.to_owned(), vec![vocab, hidden]),
        (format!("{FINAL_NORM}.weight"), vec![hidden]),
        (format!("{FINAL_NORM}.bias"), vec![hidden]),
    ];
    let [weight, packed, bias] =
        ["weight", "qweight", "bias"].map(|part| format!("{LM_HEAD}.{part}"));
    let is_packed = checkpoint.contains(&packed);
    if checkpoint.contains(&weight) || !(config.tie_word_embeddings || is_packed) {
        shapes.push((weight, vec![vocab, hidden]));
    }
    if checkpoint.contains(&bias) {
        shapes.push((bias, vec![vocab]));
    }
    let block = config.block();
    shapes.extend((0..config.num_layers).flat_map(|layer| block.tensors(layer)));
    let shape = |(name, shape): (String, Vec<usize>)| {
        checkpoint
            .tensor(&name)
            .and_then(|tensor| tensor.expect_shape(&shape).map(|_| ()))
            .err()
    };
    let linears =
        (0..config.num_layers).flat_map(|layer| block.linears().map(|linear| (layer, linear)));
    let linear = |(layer, (kind, shape)): (usize, (LinearKind, LinearShape))| {
        checkpoint.linear(&kind.name(layer), shape).err()
    };
    let errors = shapes
        .into_iter()
        .filter_map(shape)
        .chain(linears.filter_map(linear));
    errors.map(|error| error.to_arg()).collect()
}

fn floats(checkpoint: &Checkpoint) -> Vec<Arg> {
    let check = |info: &TensorInfo| checkpoint.check_finite(&info.name).err();
    checkpoint
        .tensor_infos()
        .filter_map(check)
        .map(|error| error.to_arg())
        .collect()
}

/// Returns why a checkpoint cannot be opened: the damaged files, if any, then the error of opening
/// it.
fn damaged(damage: Vec<CheckpointError>, error: CheckpointError) -> anyhow::Error {
    let text = error.to_string();
    let mut chain: Result<CliError, CheckpointError> = Err(error);
    for found in damage
        .into_iter()
        .rev()
        .filter(|found| found.to_string() != text)
    {
        let failed = CliError::new(found);
        chain = Ok(match chain {
            Ok(next) => failed.because(next),
            Err(error) => failed.because(error),
        });
    }
    chain.map_or_else(Into::into, Into::into)
}
