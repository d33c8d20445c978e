//! `bench --reuse`: measures prompts whose beginning is in the KV cache.

use moss_bench::reuse::{self, REPLY, ReuseCase, ReuseTimes};
use moss_messages::{Language, msg};
use serde_json::{Value, json};

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

pub(super) fn text(times: &ReuseTimes, language: Language) -> String {
    let case = match times.case {
        ReuseCase::SecondTurn => msg!("bench-reuse-turn"),
        ReuseCase::SharedPrefix => msg!("bench-reuse-prefix"),
    };
    let line = msg!(
        "bench-reuse",
        case,
        reused = times.reused,
        prompt = times.prompt,
        first = times.first_token_s * 1e3,
        ratio = times.ratio(),
        other = times.other_s * 1e3,
    );
    format!("  {}\n", language.text(&line))
}

pub(super) fn json(times: &ReuseTimes) -> Value {
    let case = match times.case {
        ReuseCase::SecondTurn => "second_turn",
        ReuseCase::SharedPrefix => "shared_prefix",
    };
    json!({
        "case": case, "prompt": times.prompt, "reused": times.reused,
        "first_token_s": times.first_token_s, "other_first_token_s": times.other_s,
        "ratio": times.ratio(),
    })
}
