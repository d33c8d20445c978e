//! `inspect`: what a checkpoint holds.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use moss::{
    Checkpoint, Tokenizer,
    checkpoint::{DType, TensorInfo},
    model::MossConfig,
};
use serde_json::json;

use crate::{args::Cli, open, printer::Printer};

/// Say what a checkpoint holds: sizes, format, problems
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The checkpoint's folder [default: what --model or --demo names]
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
        Some(path) => path.clone(),
        None => open::find(&cli.model)?.folder,
    };
    let checkpoint = Checkpoint::open(&folder)?;
    let mut problems: Vec<String> = Vec::new();
    let config =
        MossConfig::try_from(checkpoint.config()).map_err(|error| problems.push(error.to_string())).ok();
    let tokenizer = match Tokenizer::is_present(&folder) {
        true => Tokenizer::from_folder(&folder).map_err(|error| problems.push(error.to_string())).ok(),
        false => None,
    };
    if let (Some(config), Some(tokenizer)) = (&config, &tokenizer)
        && tokenizer.vocab_size() > config.vocab_size
    {
        problems.push(format!(
            "the tokenizer has {} tokens, the model {} rows",
            tokenizer.vocab_size(),
            config.vocab_size
        ));
    }
    if let Some(config) = &config {
        problems.extend(layers(&checkpoint, config));
    }
    if args.check {
        problems.extend(floats(&checkpoint));
    }
    let infos: Vec<&TensorInfo> = checkpoint.tensor_infos().collect();
    let bytes: u64 = infos.iter().map(|info| info.bytes()).sum();
    let format = match checkpoint.quantization() {
        Some(q) => format!(
            "GPTQ int{}, group {}{}",
            q.bits,
            q.group_size,
            if q.act_order { ", act-order" } else { "" }
        ),
        None => infos
            .iter()
            .find(|info| info.name.ends_with("wte.weight"))
            .map_or("?".into(), |info| info.dtype.to_string()),
    };
    let files: Vec<String> = checkpoint.weight_files().map(|file| file.display().to_string()).collect();
    let warnings: Vec<String> = checkpoint.warnings().iter().map(ToString::to_string).collect();
    if args.json {
        let tensors: Vec<_> = infos
            .iter()
            .map(|info| json!({"name": info.name, "dtype": info.dtype.to_string(), "shape": info.shape, "bytes": info.bytes()}))
            .collect();
        let text = json!({
            "folder": folder, "format": format, "files": files, "tensors": infos.len(), "bytes": bytes,
            "layers": config.as_ref().map(|c| c.num_layers), "hidden_size": config.as_ref().map(|c| c.hidden_size),
            "num_heads": config.as_ref().map(|c| c.num_heads), "vocab_size": config.as_ref().map(|c| c.vocab_size),
            "context_length": config.as_ref().map(|c| c.context_length),
            "tokens": tokenizer.as_ref().map(Tokenizer::vocab_size), "warnings": warnings, "problems": problems,
            "tensor_list": if args.tensors { json!(tensors) } else { json!(null) },
        });
        printer.answer(&format!("{text}\n"))?;
    } else {
        let mut text = format!("{}\n  format    {format}\n", folder.display());
        text += &format!(
            "  weights   {} tensors, {:.3} GB in {} file(s)\n",
            infos.len(),
            bytes as f64 / 1e9,
            files.len()
        );
        if let Some(c) = &config {
            text += &format!(
                "  network   {} layers, {} wide, {} heads of {}, rotary {}, inner {}, vocabulary {}, window {}\n",
                c.num_layers,
                c.hidden_size,
                c.num_heads,
                c.head_dim,
                c.rotary_dim,
                c.inner_size,
                c.vocab_size,
                c.context_length
            );
            text += &format!(
                "  cache     {:.1} KiB a token in f16\n",
                c.cache_bytes_per_position(2) as f64 / 1024.0
            );
        }
        text += &match &tokenizer {
            Some(tokenizer) => format!("  tokenizer {} tokens\n", tokenizer.vocab_size()),
            None => "  tokenizer none\n".into(),
        };
        for info in infos.iter().filter(|_| args.tensors) {
            text += &format!("  {:<52} {:<5} {:?}\n", info.name, info.dtype.to_string(), info.shape);
        }
        for warning in &warnings {
            text += &format!("  warning   {warning}\n");
        }
        for problem in &problems {
            text += &format!("  problem   {problem}\n");
        }
        printer.answer(&text)?;
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
