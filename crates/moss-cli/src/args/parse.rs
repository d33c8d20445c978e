//! Parsers of argument values.

use std::{ops::RangeInclusive, time::Duration};

use moss::{engine::Speculation, weights::GptqBits};
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
    AtLeast {
        min: usize,
    },
    Range {
        min: u64,
        max: u64,
    },
    Bits,
    /// Neither `auto` nor `off` nor a number of drafts.
    Speculation {
        max: usize,
    },
    /// Not a size, or one outside of the range.
    Size {
        max: usize,
    },
    /// A range of sizes whose first number is the larger one.
    ReversedRange {
        first: usize,
        last: usize,
    },
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

/// Parses `auto`, `off`, or the draft tokens per step.
pub(super) fn speculation(text: &str) -> Result<Speculation, ArgError> {
    let max = Speculation::MAX_DRAFTS;
    let drafts = text.parse().ok().filter(|n| (1..=max).contains(n));
    match text {
        "auto" => Ok(Speculation::Auto),
        "off" => Ok(Speculation::Off),
        _ => drafts
            .map(Speculation::Drafts)
            .ok_or(ArgError::Speculation { max }),
    }
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

/// Parses a size from 1 to `MAX`, or a range of sizes such as `1-130`.
pub(super) fn sizes<const MAX: usize>(text: &str) -> Result<RangeInclusive<usize>, ArgError> {
    let size = |text: &str| {
        let number = text.trim().parse().ok();
        let size = number.filter(|number| (1..=MAX).contains(number));
        size.ok_or(ArgError::Size { max: MAX })
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (size(first)?, size(last)?),
        None => (size(text)?, size(text)?),
    };
    if first > last {
        return Err(ArgError::ReversedRange { first, last });
    }
    Ok(first..=last)
}

pub(super) fn bits(text: &str) -> Result<GptqBits, ArgError> {
    match text {
        "4" => Ok(GptqBits::Four),
        "8" => Ok(GptqBits::Eight),
        _ => Err(ArgError::Bits),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_or_ranges() {
        assert_eq!(sizes::<256>("1").unwrap(), 1..=1);
        assert_eq!(sizes::<256>("256").unwrap(), 256..=256);
        assert_eq!(sizes::<256>("1-130").unwrap(), 1..=130);
        assert_eq!(sizes::<256>("7-7").unwrap(), 7..=7);
    }

    #[test]
    fn sizes_outside_of_the_range_and_reversed_ranges_are_different_errors() {
        for text in [
            "0",
            "257",
            "0-3",
            "3-257",
            "",
            "-",
            "3-",
            "-3",
            "1-2-3",
            "x",
            "1.5",
            "18446744073709551616",
        ] {
            let found = sizes::<256>(text);
            assert!(
                matches!(found, Err(ArgError::Size { max: 256 })),
                "{text}: {found:?}"
            );
        }
        let found = sizes::<256>("8-4");
        let expected = ArgError::ReversedRange { first: 8, last: 4 };
        assert_eq!(found.unwrap_err().to_string(), expected.to_string());
    }
}
