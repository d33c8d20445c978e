//! `bench`: how fast this machine runs a model, against what its memory could give.

use std::{process::ExitCode, time::Instant};

use anyhow::Context;
use clap::{Args, ValueEnum};
use moss::{
    Moss,
    kernels::{GptqBits, cpu_features},
    model::{
        BlockPool, BlockTable, DeviceSpec, LanguageModel, LogitRows, MossConfig, RandomWeights,
        SequenceChunk, WeightFormat,
    },
};
use serde_json::json;

use crate::{args::Cli, hints::Advised, open, printer::Printer, progress};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    Fp16,
    Int8,
    Int4,
}

/// Measure prefill and decode, beside this machine's own read bandwidth
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Make up weights of MOSS-moon-003's true sizes: no files needed
    #[arg(long)]
    random_weights: bool,
    /// Format of made-up weights
    #[arg(long, value_name = "FORMAT", default_value = "int4")]
    format: FormatArg,
    /// Layers of a model with made-up weights
    #[arg(long, value_name = "N", default_value = "34", value_parser = at_least::<1>)]
    layers: usize,
    /// Prompt tokens
    #[arg(long, value_name = "N", default_value = "512", value_parser = at_least::<1>)]
    prompt: usize,
    /// Tokens to generate after the prompt
    #[arg(long, value_name = "N", default_value = "16", value_parser = at_least::<1>)]
    new: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn at_least<const MIN: usize>(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count >= MIN).ok_or(format!("expected a number from {MIN} on"))
}

pub(crate) fn run(args: &BenchArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    let pool = open::pool(&cli.model)?;
    let (name, bandwidth, measured, model) = pool.install(|| -> anyhow::Result<_> {
        let (name, mut model) = load(args, cli, printer)?;
        let bandwidth = model.memory_bandwidth()?;
        let measured =
            measure(&mut model, args.prompt, args.new, open::device(&cli.model)? != DeviceSpec::Cpu)?;
        Ok((name, bandwidth, measured, model))
    })?;
    let weights = model.weight_bytes_per_token() as f64;
    let per_position = model.cache_bytes_per_position() as f64;
    let context = args.prompt as f64 + args.new as f64 / 2.0;
    let bytes = weights + per_position * context;
    let rate = bytes / measured.token_s;
    if args.json {
        let text = json!({
            "model": name, "threads": pool.current_num_threads(), "isa": cpu_features().to_string(),
            "read_bandwidth": bandwidth, "weight_bytes_per_token": weights, "cache_bytes_per_position": per_position,
            "prefill_tokens": args.prompt, "prefill_s": measured.prefill_s,
            "prefill_tokens_per_s": args.prompt as f64 / measured.prefill_s,
            "decode_context": [args.prompt, args.prompt + args.new], "decode_s_per_token": measured.token_s,
            "decode_tokens_per_s": 1.0 / measured.token_s, "decode_bytes_per_s": rate, "share": rate / bandwidth,
        });
        printer.answer(&format!("{text}\n"))?;
    } else {
        printer.answer(&format!(
            "{name}: {} threads, {}\n  bandwidth       {:.1} GB/s (the memory's own, measured in this run)\n  \
             prefill         {:.2} tok/s ({} tokens in {:.2} s)\n  \
             decode          {:.2} tok/s (context {} to {}, median token)\n                  \
             {:.1} GB/s of weights and cache, share {:.2}\n",
            pool.current_num_threads(),
            cpu_features(),
            bandwidth / 1e9,
            args.prompt as f64 / measured.prefill_s,
            args.prompt,
            measured.prefill_s,
            1.0 / measured.token_s,
            args.prompt,
            args.prompt + args.new,
            rate / 1e9,
            rate / bandwidth,
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn load(args: &BenchArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<(String, Moss)> {
    let positions = args.prompt.saturating_add(args.new);
    let options = open::load_options(&cli.model, positions)?;
    let fits = |config: &MossConfig| match positions <= config.context_length {
        true => Ok(()),
        false => Err(Advised {
            message: format!(
                "{} prompt and {} new tokens do not fit the window of {}",
                args.prompt, args.new, config.context_length
            ),
            hint: "take fewer: `--prompt 512 --new 16`".into(),
        }),
    };
    if !args.random_weights {
        let found = open::find(&cli.model)?;
        let checkpoint = open::checkpoint(&found.folder, printer)?;
        fits(&MossConfig::try_from(checkpoint.config())?)?;
        let model = Moss::load(&checkpoint, &options, &mut progress::bar(printer, &found.name))
            .context("cannot load the model")?;
        return Ok((found.name, model));
    }
    let (format, label) = match args.format {
        FormatArg::Fp16 => (WeightFormat::F16, "fp16"),
        FormatArg::Int8 => (WeightFormat::Gptq(GptqBits::Eight), "int8"),
        FormatArg::Int4 => (WeightFormat::Gptq(GptqBits::Four), "int4"),
    };
    let config = MossConfig { num_layers: args.layers, ..MossConfig::moon_003() };
    fits(&config)?;
    let name = format!("random weights, {label}, {} layers", config.num_layers);
    let source = RandomWeights::new(config, format);
    let model = Moss::load(&source, &options, &mut progress::bar(printer, &name))?;
    Ok((name, model))
}

struct Measured {
    prefill_s: f64,
    /// Median over the generated tokens.
    token_s: f64,
}

fn measure(model: &mut Moss, prompt: usize, new: usize, on_gpu: bool) -> anyhow::Result<Measured> {
    let vocab = model.config().vocab_size.min(100_000) as u32;
    let ids: Vec<u32> = (0..(prompt + new) as u32).map(|i| i.wrapping_mul(2_654_435_761) % vocab).collect();
    let mut blocks = BlockTable::default();
    BlockPool::new(model.cache_shape()).grow(&mut blocks, ids.len())?;
    let pass = |model: &mut Moss, from: usize, to: usize| -> anyhow::Result<f64> {
        let start = Instant::now();
        let chunk = SequenceChunk {
            token_ids: &ids[from..to],
            start_pos: from,
            blocks: &blocks,
            logits: LogitRows::Last,
        };
        model.forward(&[chunk], &|| false)?;
        Ok(start.elapsed().as_secs_f64())
    };
    pass(model, 0, 1)?; // brings the weights into memory
    let prefill_s = match on_gpu {
        true => {
            pass(model, 0, prompt)?; // libraries choose and load their kernels
            median((0..5).map(|_| pass(model, 0, prompt)).collect::<Result<_, _>>()?)?
        }
        false => pass(model, 0, prompt)?,
    };
    let token_s =
        median((prompt..prompt + new).map(|at| pass(model, at, at + 1)).collect::<Result<_, _>>()?)?;
    Ok(Measured { prefill_s, token_s })
}

fn median(mut times: Vec<f64>) -> anyhow::Result<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().context("nothing was measured")
}
