//! The results of `bench --drafts`.

use moss_bench::draft_timing::{DraftTimes, ForcedReply};
use moss_messages::{Language, msg};
use serde_json::{Value, json};

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
