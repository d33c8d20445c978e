//! `inspect`: what a checkpoint holds.

use std::{path::PathBuf, process::ExitCode};

use moss::{
    Checkpoint, Found, Tokenizer,
    checkpoint::{CheckpointError, FileCheck, LinearFormat, TensorInfo, ZeroPoints, check_files},
    model::{LinearKind, LinearShape, MossConfig},
    unicode::{Context, escape},
};
use serde_json::json;

use crate::{
    args::{Cli, InspectArgs},
    errors::{Failed, build_failed},
    messages::{Language, Words, size},
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

/// What there is to say of a checkpoint.
struct Report {
    folder: PathBuf,
    format: Words,
    files: Vec<String>,
    tensors: Vec<TensorInfo>,
    lists_tensors: bool,
    config: Option<MossConfig>,
    /// Tokens of the tokenizer, where there is one.
    tokens: Option<usize>,
    warnings: Vec<Words>,
    problems: Vec<Words>,
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
            // Damage explains best why a checkpoint cannot be opened.
            Err(error) => return Err(damaged(files.damage, error)),
        };
        let mut problems: Vec<Words> = files
            .damage
            .iter()
            .map(|error| (error.to_string(), error.zh()).into())
            .collect();
        let mut or_problem = |problem: Words| problems.push(problem);
        let folder = found.folder().to_owned();
        let config = MossConfig::try_from(checkpoint.config());
        let config = config
            .map_err(|error| or_problem((error.to_string(), error.zh()).into()))
            .ok();
        let tokenizer = Tokenizer::is_present(&folder).then(|| Tokenizer::from_folder(&folder));
        let tokenizer = tokenizer
            .transpose()
            .map_err(|error| or_problem((error.to_string(), error.zh()).into()));
        let tokenizer = tokenizer.ok().flatten();
        let tokens = tokenizer.as_ref().map(Tokenizer::vocab_size);
        if let Some(config) = &config {
            let rows = config.vocab_size;
            if let Some(tokens) = tokens.filter(|tokens| *tokens > rows) {
                or_problem(Words::from((
                    format!("the tokenizer has {tokens} tokens, the model {rows} rows"),
                    format!("分词器有 {tokens} 个词元，模型只有 {rows} 行"),
                )));
            }
            problems.extend(needed(&checkpoint, config));
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
                .map(|found| (found.to_string(), found.zh()).into())
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
            "folder": self.folder.display().to_string(), "format": self.format.en, "files": self.files,
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
            Words::from((
                format!("  format    {}", self.format.en),
                format!("  格式    {}", self.format.zh),
            )),
            Words::from((
                format!("  weights   {tensors} tensors, {bytes} in {files} file(s)"),
                format!("  权重    {tensors} 个张量，{bytes}，{files} 个文件"),
            )),
        ];
        if let Some(config) = &self.config {
            lines.extend(network(config));
        }
        lines.push(match self.tokens {
            Some(tokens) => (
                format!("  tokenizer {tokens} tokens"),
                format!("  分词器  {tokens} 个词元"),
            )
                .into(),
            None => ("  tokenizer none", "  分词器  无").into(),
        });
        if self.lists_tensors {
            lines.extend(self.tensors.iter().map(|info| {
                Words::same(format!(
                    "  {:<52} {:<5} {:?}",
                    info.name,
                    info.dtype.to_string(),
                    info.shape
                ))
            }));
        }
        let found = |label: &str, zh_label: &str, found: &Words| {
            Words::from((
                format!("  {label}   {}", found.en),
                format!("  {zh_label}    {}", found.zh),
            ))
        };
        lines.extend(
            self.warnings
                .iter()
                .map(|warning| found("warning", "警告", warning)),
        );
        lines.extend(
            self.problems
                .iter()
                .map(|problem| found("problem", "问题", problem)),
        );
        // Names of tensors and files may hold anything.
        let shown = |line: &str| format!("{}\n", escape(line, Context::Line));
        let lines: String = lines.iter().map(|line| shown(line.of(language))).collect();
        format!("{}{lines}", shown(&self.folder.display().to_string()))
    }
}

fn english(found: &[Words]) -> Vec<&str> {
    found.iter().map(|found| found.en.as_str()).collect()
}

fn network(config: &MossConfig) -> [Words; 2] {
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
        Words::from((
            format!(
                "  network   {num_layers} layers, {hidden_size} wide, {num_heads} heads of {head_dim}, rotary {rotary_dim}, \
                 inner {inner_size}, vocabulary {vocab_size}, window {context_length}"
            ),
            format!(
                "  网络    {num_layers} 层，宽 {hidden_size}，{num_heads} 个头、每头 {head_dim} 维，旋转 {rotary_dim} 维，\
                 内层 {inner_size}，词表 {vocab_size}，上下文窗口 {context_length}"
            ),
        )),
        Words::from((
            format!("  cache     {kib:.1} KiB a token in f16"),
            format!("  缓存    每词元 {kib:.1} KiB（f16）"),
        )),
    ]
}

fn format(checkpoint: &Checkpoint) -> Words {
    let formats = checkpoint.linear_formats();
    match formats {
        [] => {
            let embedding = checkpoint
                .tensor_infos()
                .find(|info| info.name.ends_with("wte.weight"));
            embedding.map_or_else(
                || Words::from(("unknown", "未知")),
                |info| Words::same(info.dtype.to_string()),
            )
        }
        [(format, _)] => linears(format),
        _ => {
            let parts = formats
                .iter()
                .map(|(format, count)| (linears(format), count));
            let (en, zh): (Vec<_>, Vec<_>) = parts
                .map(|(format, count)| {
                    (
                        format!("{} ({count} linear layers)", format.en),
                        format!("{}（{count} 个线性层）", format.zh),
                    )
                })
                .unzip();
            Words::from((
                format!("mixed: {}", en.join("; ")),
                format!("混合：{}", zh.join("；")),
            ))
        }
    }
}

/// How linear layers are stored.
fn linears(format: &LinearFormat) -> Words {
    match format {
        LinearFormat::Dense(dtype) => Words::same(dtype.to_string()),
        LinearFormat::Gptq(q) => {
            let (bits, group) = (q.bits, q.group_size);
            let (order, order_zh) = if q.act_order {
                (", act-order", "，act-order")
            } else {
                ("", "")
            };
            let (zeros, zeros_zh) = match q.zero_points {
                ZeroPoints::LessOne => ("", ""),
                ZeroPoints::Plain => (", gptq_v2 zero points", "，gptq_v2 零点"),
            };
            Words::from((
                format!("GPTQ int{bits}, group {group}{order}{zeros}"),
                format!("GPTQ int{bits}，每组 {group}{order_zh}{zeros_zh}"),
            ))
        }
    }
}

/// What is wrong with the tensors that the network needs, without reading its matrices.
fn needed(checkpoint: &Checkpoint, config: &MossConfig) -> Vec<Words> {
    let (hidden, vocab) = (config.hidden_size, config.vocab_size);
    let mut shapes = vec![
        ("transformer.wte.weight".to_owned(), vec![vocab, hidden]),
        ("transformer.ln_f.weight".to_owned(), vec![hidden]),
        ("transformer.ln_f.bias".to_owned(), vec![hidden]),
    ];
    if checkpoint.contains("lm_head.bias") {
        shapes.push(("lm_head.bias".to_owned(), vec![vocab]));
    }
    let is_packed = checkpoint.contains("lm_head.qweight");
    if checkpoint.contains("lm_head.weight") || !(config.tie_word_embeddings || is_packed) {
        shapes.push(("lm_head.weight".to_owned(), vec![vocab, hidden]));
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
        let (inputs, outputs) = (shape.in_features, shape.out_features);
        checkpoint
            .linear(&kind.name(layer), inputs, outputs, shape.has_bias)
            .err()
    };
    let errors = shapes
        .into_iter()
        .filter_map(shape)
        .chain(linears.filter_map(linear));
    errors
        .map(|error| (error.to_string(), error.zh()).into())
        .collect()
}

fn floats(checkpoint: &Checkpoint) -> Vec<Words> {
    let check = |info: &TensorInfo| checkpoint.check_finite(&info.name).err();
    let words = |error: CheckpointError| Words::from((error.to_string(), error.zh()));
    checkpoint
        .tensor_infos()
        .filter_map(check)
        .map(words)
        .collect()
}

/// Why a checkpoint cannot be opened: the damage that was found, where there is some, and then the
/// error of opening it.
fn damaged(damage: Vec<CheckpointError>, error: CheckpointError) -> anyhow::Error {
    let told = error.to_string();
    let mut chain: Result<Failed, CheckpointError> = Err(error);
    for found in damage
        .into_iter()
        .rev()
        .filter(|found| found.to_string() != told)
    {
        let mut failed = Failed::new((found.to_string(), found.zh()));
        if let Some(hint) = found.hint().zip(found.hint_zh()) {
            failed = failed.hint(hint);
        }
        chain = Ok(match chain {
            Ok(next) => failed.because(next),
            Err(error) => failed.because(error),
        });
    }
    chain.map_or_else(Into::into, Into::into)
}
