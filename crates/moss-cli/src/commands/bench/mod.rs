//! `bench`: measures the speed of a model, compared with the memory bandwidth.

mod kernels;
mod report;
mod timeline;

use std::process::ExitCode;

use moss::{
    Moss,
    model::{LoadOptions, MossConfig, RandomWeights, WeightFormat, placement::ModelBytes},
    sampling::Sampler,
};
use moss_bench::{
    LoadTimer,
    concurrency::{cache_positions, serve},
    model_timing::ConversationTimer,
};

use moss_messages::{Text, msg};

use crate::{
    args::{BenchArgs, Cli},
    errors::{CliError, Context, build_failed},
    memory, open,
    printer::Printer,
    progress, source,
};

use report::Report;
use timeline::Timeline;

pub(crate) fn run(args: &BenchArgs, cli: &Cli, printer: &Printer) -> anyhow::Result<ExitCode> {
    if args.kernels {
        let prompts = match args.prompt.is_empty() {
            true => vec![512],
            false => args.prompt.clone(),
        };
        let format = args.format.format();
        return kernels::run(format, args.layers, &prompts, args.json, cli, printer);
    }
    let on_gpu = open::any_gpu(&open::devices(&cli.model)?);
    let prompts = match (args.prompt.is_empty(), on_gpu) {
        (false, _) => args.prompt.clone(),
        _ if !args.clients.is_empty() => vec![128],
        (true, true) => vec![64, 512, 1900],
        (true, false) => vec![512],
    };
    let new = args.new.unwrap_or(if on_gpu { 128 } else { 16 });
    let sampling = open::sampling(&cli.answer);
    let pool = open::pool(&cli.model)?;
    let report = pool.install(|| -> anyhow::Result<_> {
        let mut loading = LoadTimer::start();
        let (first, longest) = (
            prompts.first().copied().unwrap_or(1),
            prompts.iter().max().copied().unwrap_or(1),
        );
        let max_clients = args.clients.iter().max().copied().unwrap_or(0);
        let concurrent = cache_positions(max_clients, first.saturating_add(new));
        let (name, mut model) = load(args, (longest, new), concurrent, cli, printer, &mut loading)?;
        loading.finish();
        let bandwidth = model.memory_bandwidth()?;
        let mut timer = ConversationTimer {
            model: &mut model,
            sampler: Sampler::new(sampling.clone())?,
            on_gpu,
        };
        let measured = prompts
            .iter()
            .map(|prompt| timer.measure(*prompt, new))
            .collect::<Result<_, _>>()?;
        let timelines = match (args.timeline, prompts.last()) {
            (true, Some(prompt)) => Timeline::of(*prompt, timer.timelines(*prompt)?).into(),
            _ => Vec::new(),
        };
        let stages = model.stages()?; // before the next measurement allocates memory
        let upload = model.upload_bandwidth().ok().flatten(); // fails if GPU memory is full
        let served = match args.clients.is_empty() {
            true => Vec::new(),
            false => serve(
                model,
                &args.clients,
                (first, new),
                &sampling,
                pool.current_num_threads(),
            )?,
        };
        Ok(Report {
            served,
            name,
            upload,
            threads: pool.current_num_threads(),
            activations: open::activations(&cli.model),
            loading,
            bandwidth,
            measured,
            timelines,
            stages,
        })
    })?;
    match args.json {
        true => printer.json(&report.json())?,
        false => printer.report(&report.text(printer.language))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn load(
    args: &BenchArgs,
    (prompt, new): (usize, usize),
    concurrent: usize,
    cli: &Cli,
    printer: &Printer,
    loading: &mut LoadTimer,
) -> anyhow::Result<(Text, Moss)> {
    let positions = prompt.saturating_add(new);
    let builder = open::builder(source::model(&cli.model), cli, printer)?;
    let options = builder
        .load_options(positions.max(concurrent))
        .map_err(build_failed)?;
    let fits = |config: &MossConfig| match positions <= config.context_length {
        true => Ok(()),
        false => {
            let window = config.context_length;
            let what = msg!("bench-window", prompt, new, window);
            Err(CliError::new(what))
        }
    };
    if !args.random_weights {
        let mut found = open::find_with(builder, &cli.model, printer)?;
        let checkpoint = found.checkpoint().context(msg!("cannot-open-checkpoint"))?;
        fits(&MossConfig::try_from(checkpoint.config())?)?;
        let model = Moss::load(
            &checkpoint,
            &options,
            &mut loading.watch(progress::bar(printer, found.name())),
        )
        .context(msg!("cannot-load-model"))?;
        return Ok((msg!("plain", value = found.name()), model));
    }
    let format = args.format.format();
    let config = MossConfig {
        num_layers: args.layers,
        ..MossConfig::moon_003()
    };
    fits(&config)?;
    if !open::any_gpu(&options.devices) {
        fit_memory(&config, format, &options)?;
    }
    let layers = config.num_layers;
    let name = msg!("bench-random-weights", format = format.to_string(), layers);
    let source = RandomWeights::new(config, format);
    let bar = progress::bar(printer, &printer.text(&name));
    let model = Moss::load(&source, &options, &mut loading.watch(bar))?;
    Ok((name, model))
}

/// Returns an error if the random weights need more memory than is available. They are not backed
/// by a file, so the system would kill this program or another one.
fn fit_memory(
    config: &MossConfig,
    format: WeightFormat,
    options: &LoadOptions,
) -> Result<(), CliError> {
    let bytes = ModelBytes::in_format(config, format, options.cache, options.dtype);
    let layer = bytes.layers.iter().max().copied().unwrap_or(0);
    let others = bytes.embedding + bytes.head;
    let needed = others + bytes.layers.iter().sum::<u64>();
    let Some(free) = memory::available().filter(|free| *free < needed) else {
        return Ok(());
    };
    let [needed, found] = [needed, free].map(|bytes| bytes as f64 / 1e9);
    let fewer = free
        .saturating_sub(others)
        .checked_div(layer)
        .unwrap_or(0)
        .max(1);
    let layers = config.num_layers;
    Err(CliError::new(msg!(
        "bench-memory",
        layers,
        needed,
        found,
        fewer,
    )))
}
