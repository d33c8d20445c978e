//! `/params`: shows and sets generation parameters by name.

use std::{str::FromStr, time::Duration};

use moss::ChatOptions;

use moss_messages::msg;

use crate::errors::CliError;

const NONE: &str = "none";

/// Returns every parameter with its value, one per line.
pub(crate) fn show(options: &ChatOptions) -> String {
    let s = &options.sampling;
    let or_none = |value: Option<String>| value.unwrap_or_else(|| NONE.to_owned());
    let lines = [
        ("temperature", s.temperature.to_string()),
        ("top_k", s.top_k.unwrap_or(0).to_string()),
        ("top_p", s.top_p.to_string()),
        ("min_p", s.min_p.to_string()),
        ("repetition_penalty", s.repetition_penalty.to_string()),
        (
            "max_new_tokens",
            or_none(options.max_new_tokens.map(|count| count.to_string())),
        ),
        (
            "max_time",
            or_none(
                options
                    .time_limit
                    .map(|time| time.as_secs_f64().to_string()),
            ),
        ),
        ("seed", or_none(s.seed.map(|seed| seed.to_string()))),
    ];
    lines
        .map(|(key, value)| format!("{key} {value}"))
        .join("\n")
}

/// Returns the options with `pair` changed, such as `top_p 0.9` or `top_p=0.9`. `-` and `_` are
/// equivalent in names.
///
/// # Errors
/// [`CliError`] for an unknown name or a value that cannot be parsed; `SamplingError` for a value
/// out of range.
pub(crate) fn set(options: &ChatOptions, pair: &str) -> anyhow::Result<ChatOptions> {
    let (key, value) = pair.split_once([' ', '=']).unwrap_or((pair, ""));
    let (key, value) = (
        key.trim().trim_start_matches("--").replace('-', "_"),
        value.trim(),
    );
    let mut changed = options.clone();
    let sampling = &mut changed.sampling;
    let parsed = match key.as_str() {
        "temperature" => parse(value).map(|value| sampling.temperature = value),
        "top_k" => parse(value).map(|value| sampling.top_k = Some(value).filter(|k| *k > 0)),
        "top_p" => parse(value).map(|value| sampling.top_p = value),
        "min_p" => parse(value).map(|value| sampling.min_p = value),
        "repetition_penalty" => parse(value).map(|value| sampling.repetition_penalty = value),
        "seed" => optional(value).map(|value| sampling.seed = value),
        "max_new_tokens" => optional(value).map(|value| changed.max_new_tokens = value),
        "max_time" => time_limit(value).map(|value| changed.time_limit = value),
        _ => {
            return Err(CliError::new(msg!("unknown-parameter", key)).into());
        }
    };
    parsed.ok_or_else(|| CliError::new(msg!("parameter-value", key, value)))?;
    changed.sampling.check()?;
    Ok(changed)
}

fn parse<T: FromStr>(value: &str) -> Option<T> {
    value.parse().ok()
}

fn optional<T: FromStr>(value: &str) -> Option<Option<T>> {
    if value == NONE {
        Some(None)
    } else {
        parse(value).map(Some)
    }
}

/// Parses a time limit in seconds.
fn time_limit(value: &str) -> Option<Option<Duration>> {
    let seconds: Option<f64> = optional(value)?;
    seconds.map(Duration::try_from_secs_f64).transpose().ok()
}
