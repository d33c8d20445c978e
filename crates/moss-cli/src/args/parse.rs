//! Parsers of argument values.

use std::{ops::RangeInclusive, time::Duration};

use moss::weights::GptqBits;
use moss_messages::Message;

/// Maximum of `bench --layers`: thirty times the layers of the published model.
const MAX_LAYERS: u64 = 1000;

/// An invalid argument value.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
pub(crate) enum ArgError {
    Seconds,
    SecondsAboveZero,
    AboveZero,
    AtLeast { min: usize },
    Range { min: u64, max: u64 },
    Bits,
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
    in_range(1..=MAX_LAYERS)(text)
}

/// Returns a parser of numbers in a range.
pub(super) fn in_range<T>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, ArgError> + Clone + Send + Sync
where
    T: TryFrom<u64>,
{
    let (min, max) = range.into_inner();
    move |text| {
        let number = text.parse().ok().filter(|n| (min..=max).contains(n));
        number
            .and_then(|n: u64| T::try_from(n).ok())
            .ok_or(ArgError::Range { min, max })
    }
}

pub(super) fn bits(text: &str) -> Result<GptqBits, ArgError> {
    match text {
        "4" => Ok(GptqBits::Four),
        "8" => Ok(GptqBits::Eight),
        _ => Err(ArgError::Bits),
    }
}
