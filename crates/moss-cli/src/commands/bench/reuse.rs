//! `bench --reuse`: measures prompts whose beginning is in the KV cache.

use moss_bench::reuse::{self, REPLY};

use super::{load::Needed, report::Report, setup::Bench};

/// Tokens of a prompt that are not cached.
const LAST: usize = 32;

pub(super) fn measure(bench: &Bench<'_>, pool: &rayon::ThreadPool) -> anyhow::Result<Report> {
    let prompt = if bench.on_gpu { 1932 } else { 343 };
    let prompt = bench.args.prompt.first().copied().unwrap_or(prompt);
    let needed = Needed {
        longest: (prompt, REPLY + 1),
        sequences: 1,
        positions: prompt.saturating_add(REPLY + 1),
        may_shrink: false,
    };
    let (loaded, mut report) = bench.load(needed, pool)?;
    report.stages = loaded.model.stages()?;
    let threads = pool.current_num_threads();
    report.reuse = reuse::measure(loaded.model, (prompt, LAST), threads)?.into();
    Ok(report)
}
