//! `bench --drafts`: measures speculative decoding.

use moss_bench::draft_timing;

use super::{load::Needed, report::Report, setup::Bench};

/// Measures the forced replies after the first prompt.
pub(super) fn measure(bench: &Bench<'_>, pool: &rayon::ThreadPool) -> anyhow::Result<Report> {
    let (prompt, new) = if bench.on_gpu { (512, 512) } else { (64, 64) };
    let prompt = bench.args.prompt.first().copied().unwrap_or(prompt);
    let new = bench.args.new.unwrap_or(new);
    let needed = Needed {
        longest: (prompt, new),
        sequences: 1,
        positions: prompt.saturating_add(new),
        may_shrink: false,
    };
    let (loaded, mut report) = bench.load(needed, pool)?;
    report.stages = loaded.model.stages()?;
    let (speculation, threads) = (bench.cli.model.speculate, pool.current_num_threads());
    report.drafts = draft_timing::measure(loaded.model, (prompt, new), speculation, threads)?;
    Ok(report)
}
