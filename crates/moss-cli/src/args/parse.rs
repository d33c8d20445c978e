//! Parsers of argument values.

use std::time::Duration;

use moss::weights::GptqBits;

/// Maximum of `bench --layers`: thirty times those of the published model.
const MAX_LAYERS: usize = 1000;

/// An argument value that is not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArgError {
    #[error("expected a number of seconds")]
    Seconds,
    #[error("expected a number of seconds above 0")]
    SecondsAboveZero,
    #[error("expected a number above 0")]
    AboveZero,
    #[error("expected a number from {min} on")]
    AtLeast { min: usize },
    #[error("expected a number from 1 to {max}")]
    UpTo { max: usize },
    #[error("expected 4 or 8")]
    Bits,
}

impl ArgError {
    /// Returns the error in Chinese.
    pub(crate) fn zh(&self) -> String {
        match self {
            Self::Seconds => "应为秒数".into(),
            Self::SecondsAboveZero => "应为大于 0 的秒数".into(),
            Self::AboveZero => "应为大于 0 的数".into(),
            Self::AtLeast { min } => format!("应为不小于 {min} 的整数"),
            Self::UpTo { max } => format!("应为 1 至 {max} 的整数"),
            Self::Bits => "应为 4 或 8".into(),
        }
    }
}

pub(super) fn seconds(text: &str) -> Result<Duration, ArgError> {
    let seconds = text.parse().map_err(|_| ArgError::Seconds)?;
    Duration::try_from_secs_f64(seconds).map_err(|_| ArgError::SecondsAboveZero)
}

pub(super) fn above_zero(text: &str) -> Result<f64, ArgError> {
    let number = text.parse().ok();
    number
        .filter(|number: &f64| *number > 0.0 && number.is_finite())
        .ok_or(ArgError::AboveZero)
}

pub(super) fn at_least<const MIN: usize>(text: &str) -> Result<usize, ArgError> {
    let count = text.parse().ok().filter(|count| *count >= MIN);
    count.ok_or(ArgError::AtLeast { min: MIN })
}

pub(super) fn layers(text: &str) -> Result<usize, ArgError> {
    let count = text.parse().ok();
    count
        .filter(|count| (1..=MAX_LAYERS).contains(count))
        .ok_or(ArgError::UpTo { max: MAX_LAYERS })
}

pub(super) fn bits(text: &str) -> Result<GptqBits, ArgError> {
    match text {
        "4" => Ok(GptqBits::Four),
        "8" => Ok(GptqBits::Eight),
        _ => Err(ArgError::Bits),
    }
}
