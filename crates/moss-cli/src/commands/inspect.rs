//! `inspect`: what a checkpoint holds.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use moss::{
    Checkpoint, Tokenizer,
    checkpoint::{DType, TensorInfo},
    model::MossConfig,
};
use serde_json::json;

use crate::{args::Cli, open, printer::Printer, progress::size};

/// Say what a checkpoint holds: sizes, format, problems
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The checkpoint: a folder, a hub id or a short name [default: what --model or --demo names]
    path: Option<PathBuf>,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
    /// Read every float and look for inf and NaN
    #[arg(long)]
    check: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &InspectArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let folder = match &args.path {
        Some(path) => open::folder(path, &cli.model)?,
        None => open::find(&cli.model)?.folder,
    };
    let report = Report::of(folder, args)?;
    let text = if args.json { format!("{}\n", report.to_json()) } else { report.to_text() };
    printer.answer(&text)?;
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What there is to say of a checkpoint.
struct Report {
    folder: PathBuf,
    format: String,
    files: Vec<String>,
    tensors: Vec<TensorInfo>,
    lists_tensors: bool,
    config: Option<MossConfig>,
    /// Tokens of the tokenizer, where there is one.
    tokens: Option<usize>,
    warnings: Vec<String>,
    problems: Vec<String>,
}

impl Report {
    fn of(folder: PathBuf, args: &InspectArgs) -> anyhow::Result<Self> {
        let checkpoint = Checkpoint::open(&folder)?;
        let mut problems = Vec::new();
        let mut or_problem = |error: String| problems.push(error);
        let config = MossConfig::try_from(checkpoint.config());
        let config = config.map_err(|error| or_problem(error.to_string())).ok();
        let tokenizer = Tokenizer::is_present(&folder).then(|| Tokenizer::from_folder(&folder));
        let tokenizer = tokenizer.transpose().map_err(|error| or_problem(error.to_string())).ok().flatten();
        let tokens = tokenizer.as_ref().map(Tokenizer::vocab_size);
        if let Some(config) = &config {
            let rows = config.vocab_size;
            if let Some(tokens) = tokens.filter(|tokens| *tokens > rows) {
                or_problem(format!("the tokenizer has {tokens} tokens, the model {rows} rows"));
            }
            problems.extend(layers(&checkpoint, config));
        }
        if args.check {
            problems.extend(floats(&checkpoint));
        }
        Ok(Self {
            folder,
            format: format(&checkpoint),
            files: checkpoint.weight_files().map(|file| file.display().to_string()).collect(),
            tensors: checkpoint.tensor_infos().cloned().collect(),
            lists_tensors: args.tensors,
            config,
            tokens,
            warnings: checkpoint.warnings().iter().map(ToString::to_string).collect(),
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
            "folder": self.folder.display().to_string(), "format": self.format, "files": self.files,
            "tensors": self.tensors.len(), "bytes": self.bytes(), "tensor_list": list,
            "layers": config.map(|c| c.num_layers), "hidden_size": config.map(|c| c.hidden_size),
            "num_heads": config.map(|c| c.num_heads), "vocab_size": config.map(|c| c.vocab_size),
            "context_length": config.map(|c| c.context_length),
            "cache_bytes_per_token": config.map(|c| c.cache_bytes_per_position(2)),
            "tokens": self.tokens, "warnings": self.warnings, "problems": self.problems,
        })
    }

    fn to_text(&self) -> String {
        let mut lines = vec![
            self.folder.display().to_string(),
            format!("  format    {}", self.format),
            format!(
                "  weights   {} tensors, {} in {} file(s)",
                self.tensors.len(),
                size(self.bytes()),
                self.files.len()
            ),
        ];
        if let Some(c) = &self.config {
            lines.push(format!(
                "  network   {} layers, {} wide, {} heads of {}, rotary {}, inner {}, vocabulary {}, window {}",
                c.num_layers,
                c.hidden_size,
                c.num_heads,
                c.head_dim,
                c.rotary_dim,
                c.inner_size,
                c.vocab_size,
                c.context_length
            ));
            let kib = c.cache_bytes_per_position(2) as f64 / 1024.0;
            lines.push(format!("  cache     {kib:.1} KiB a token in f16"));
        }
        lines.push(match self.tokens {
            Some(tokens) => format!("  tokenizer {tokens} tokens"),
            None => "  tokenizer none".into(),
        });
        if self.lists_tensors {
            let line = |info: &TensorInfo| {
                format!("  {:<52} {:<5} {:?}", info.name, info.dtype.to_string(), info.shape)
            };
            lines.extend(self.tensors.iter().map(line));
        }
        lines.extend(self.warnings.iter().map(|warning| format!("  warning   {warning}")));
        lines.extend(self.problems.iter().map(|problem| format!("  problem   {problem}")));
        lines.join("\n") + "\n"
    }
}

fn format(checkpoint: &Checkpoint) -> String {
    match checkpoint.quantization() {
        Some(q) => {
            let order = if q.act_order { ", act-order" } else { "" };
            format!("GPTQ int{}, group {}{order}", q.bits, q.group_size)
        }
        None => {
            let embedding = checkpoint.tensor_infos().find(|info| info.name.ends_with("wte.weight"));
            embedding.map_or_else(|| "unknown".into(), |info| info.dtype.to_string())
        }
    }
}

/// What is wrong with the linears, without reading their weights.
fn layers(checkpoint: &Checkpoint, config: &MossConfig) -> Vec<String> {
    let (hidden, inner) = (config.hidden_size, config.inner_size);
    let kinds = [
        ("attn.qkv_proj", hidden, 3 * hidden, false),
        ("attn.out_proj", hidden, hidden, false),
        ("mlp.fc_in", hidden, inner, true),
        ("mlp.fc_out", inner, hidden, true),
    ];
    let stems = (0..config.num_layers).flat_map(|layer| {
        kinds.map(|(stem, rows, cols, bias)| (format!("transformer.h.{layer}.{stem}"), rows, cols, bias))
    });
    stems
        .filter_map(|(stem, inputs, outputs, bias)| checkpoint.linear(&stem, inputs, outputs, bias).err())
        .map(|error| error.to_string())
        .collect()
}

fn floats(checkpoint: &Checkpoint) -> Vec<String> {
    let is_float = |info: &&TensorInfo| matches!(info.dtype, DType::F16 | DType::BF16 | DType::F32);
    let check = |info: &TensorInfo| {
        let found = checkpoint.tensor(&info.name).and_then(|tensor| tensor.check_finite().map(|_| ()));
        checkpoint.release(&info.name);
        found.err().map(|error| error.to_string())
    };
    checkpoint.tensor_infos().filter(is_float).filter_map(check).collect()
}
