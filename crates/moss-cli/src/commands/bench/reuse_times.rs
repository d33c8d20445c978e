//! The results of `bench --reuse`.

use moss_bench::reuse::{ReuseCase, ReuseTimes};
use moss_messages::{Language, msg};
use serde_json::{Value, json};

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
