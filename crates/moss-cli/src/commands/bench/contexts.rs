//! Measurements of one sequence at several contexts, and of concurrent requests.

use moss::sampling::Sampler;
use moss_bench::{
    STREAM_TOKENS, batch::MAX_SEQUENCES, concurrency::serve, model_timing::ConversationTimer,
};

use crate::open;

use super::{load::Needed, report::Report, setup::Bench, timeline::Timeline};

/// Measures each prompt and the tokens after it, then the concurrent requests.
pub(super) fn measure(bench: &Bench<'_>, pool: &rayon::ThreadPool) -> anyhow::Result<Report> {
    let args = bench.args;
    let prompts = match (args.prompt.is_empty(), bench.on_gpu) {
        (false, _) => args.prompt.clone(),
        _ if !args.clients.is_empty() => vec![128],
        (true, true) => vec![64, 512, 1900],
        (true, false) => vec![512],
    };
    let new = args.new.unwrap_or(if bench.on_gpu { 128 } else { 16 });
    let sampling = open::sampling(&bench.cli.answer);
    let first = prompts.first().copied().unwrap_or(1);
    let clients = args.clients.iter().max().copied().unwrap_or(0);
    let needed = Needed {
        longest: (prompts.iter().max().copied().unwrap_or(1), new),
        sequences: clients.min(MAX_SEQUENCES),
        positions: first.saturating_add(new),
        may_shrink: false,
    };
    let needed = match args.arrival {
        None => needed,
        Some(arriving) => Needed {
            longest: (needed.longest.0.max(arriving), new),
            sequences: clients.saturating_add(1).min(MAX_SEQUENCES),
            positions: first
                .saturating_add(new.max(STREAM_TOKENS))
                .max(arriving.saturating_add(1)),
            ..needed
        },
    };
    let (mut loaded, mut report) = bench.load(needed, pool)?;
    let mut timer = ConversationTimer {
        model: &mut loaded.model,
        sampler: Sampler::new(sampling.clone())?,
        on_gpu: bench.on_gpu,
    };
    for prompt in &prompts {
        report.measured.push(timer.measure(*prompt, new)?);
    }
    if let (true, Some(prompt)) = (args.timeline, prompts.last()) {
        report.timelines = Timeline::of(*prompt, timer.timelines(*prompt)?).into();
    }
    report.stages = loaded.model.stages()?; // before the next measurement allocates memory
    report.upload = loaded.model.upload_bandwidth().ok().flatten(); // fails if GPU memory is full
    if !args.clients.is_empty() {
        let (model, shape) = (loaded.model, (first, new));
        let threads = pool.current_num_threads();
        let arriving = args.arrival;
        report.served = serve(model, &args.clients, shape, arriving, &sampling, threads)?;
    }
    Ok(report)
}
