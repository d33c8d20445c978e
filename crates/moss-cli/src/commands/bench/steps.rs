//! `bench --batch`: measures decode steps of several sequences.

use moss_bench::batch;
use moss_messages::msg;

use crate::{errors::CliError, open};

use super::{
    batch::{Batches, Limit},
    load::Needed,
    report::Report,
    setup::Bench,
};

/// Measures the steps of each size of `--batch`.
pub(super) fn measure(bench: &Bench<'_>, pool: &rayon::ThreadPool) -> anyhow::Result<Report> {
    let (prompt, steps) = if bench.on_gpu { (512, 32) } else { (64, 4) };
    let prompt = bench.args.prompt.first().copied().unwrap_or(prompt);
    let steps = bench.args.new.unwrap_or(steps);
    let positions = batch::positions(prompt, steps);
    let mut sizes = bench.args.batch_sizes();
    let needed = Needed {
        longest: (prompt, positions.saturating_sub(prompt)),
        sequences: sizes.last().copied().unwrap_or(1),
        positions,
        may_shrink: true,
    };
    let (loaded, mut report) = bench.load(needed, pool)?;
    let sequences = loaded.sequences;
    let limit = (sequences < needed.sequences).then_some(Limit {
        sequences,
        positions,
    });
    let smallest = sizes.first().copied().unwrap_or(1);
    sizes.retain(|size| *size <= sequences);
    if sizes.is_empty() {
        let what = msg!("bench-batch-memory", smallest, positions, sequences);
        return Err(CliError::new(what).into());
    }
    report.stages = loaded.model.stages()?;
    let (sampling, threads) = (
        open::sampling(&bench.cli.answer),
        pool.current_num_threads(),
    );
    let times = batch::measure(loaded.model, &sizes, (prompt, steps), &sampling, threads)?;
    report.batches = Some(Batches { times, limit });
    Ok(report)
}
