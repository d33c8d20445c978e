//! `bench --drafts`: measures speculative decoding.

use moss_bench::draft_timing::{self, DraftTimes, ForcedReply};
use moss_messages::{Language, msg};
use serde_json::{Value, json};

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

pub(super) fn text(times: &DraftTimes, language: Language) -> String {
    let reply = match times.reply {
        ForcedReply::Repetition => msg!("bench-drafts-repetition"),
        ForcedReply::Random => msg!("bench-drafts-random"),
    };
    let line = msg!(
        "bench-drafts",
        reply,
        prompt = times.prompt,
        new = times.new,
        plain = 1.0 / times.plain_s,
        rate = 1.0 / times.drafted_s,
        speedup = times.speedup(),
        accepted = times.accepted,
        drafted = times.drafted,
        acceptance = times.acceptance(),
    );
    format!("  {}\n", language.text(&line))
}

pub(super) fn json(times: &DraftTimes) -> Value {
    let reply = match times.reply {
        ForcedReply::Repetition => "repetition",
        ForcedReply::Random => "random",
    };
    json!({
        "reply": reply, "prompt": times.prompt, "new": times.new,
        "plain_s_per_token": times.plain_s, "s_per_token": times.drafted_s,
        "speedup": times.speedup(), "drafted": times.drafted, "accepted": times.accepted,
    })
}
