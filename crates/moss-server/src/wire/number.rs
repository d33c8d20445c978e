//! Whole numbers as clients send them: languages with one number type write `512.0`, and some
//! clients write -1 for "no limit".

use std::fmt::{self, Formatter};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

/// A count: a whole number from 0 up, in integer or float notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) usize);

/// A limit: a [`Count`], or `None` for -1, which means "no limit".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<usize>);

/// A [`Count`], or `None` for `false`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CountOrOff(pub(crate) Option<usize>);

/// A seed: any whole number of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed(pub(crate) u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = deserializer.deserialize_any(Whole("a whole number, 0 or more"))?;
        count(found)
            .map(Self)
            .ok_or_else(|| unexpected(found, "a whole number, 0 or more"))
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(Whole("a whole number, or -1 for no limit"))? {
            -1 => Ok(Self(None)),
            found => count(found)
                .map(|count| Self(Some(count)))
                .ok_or_else(|| unexpected(found, "a whole number, or -1 for no limit")),
        }
    }
}

impl<'de> Deserialize<'de> for CountOrOff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a whole number, 0 or more, or false";
        /// As [`Whole`], with `None` for `false`.
        struct WholeOrOff;
        impl Visitor<'_> for WholeOrOff {
            type Value = Option<i128>;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<Option<i128>, E> {
                if on {
                    return Err(E::invalid_type(Unexpected::Bool(on), &self));
                }
                Ok(None)
            }

            fn visit_i64<E: Error>(self, found: i64) -> Result<Option<i128>, E> {
                Whole(EXPECTED).visit_i64(found).map(Some)
            }

            fn visit_u64<E: Error>(self, found: u64) -> Result<Option<i128>, E> {
                Whole(EXPECTED).visit_u64(found).map(Some)
            }

            fn visit_f64<E: Error>(self, found: f64) -> Result<Option<i128>, E> {
                Whole(EXPECTED).visit_f64(found).map(Some)
            }
        }
        let Some(found) = deserializer.deserialize_any(WholeOrOff)? else {
            return Ok(Self(None));
        };
        count(found)
            .map(|count| Self(Some(count)))
            .ok_or_else(|| unexpected(found, EXPECTED))
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = deserializer.deserialize_any(Whole("a whole number of 64 bits"))?;
        let bits = u64::try_from(found)
            .ok()
            .or_else(|| i64::try_from(found).ok().map(i64::cast_unsigned));
        bits.map(Self)
            .ok_or_else(|| unexpected(found, "a whole number of 64 bits"))
    }
}

/// Converts a count. One beyond the address space becomes the largest possible count.
fn count(found: i128) -> Option<usize> {
    u64::try_from(found)
        .ok()
        .map(|found| usize::try_from(found).unwrap_or(usize::MAX))
}

fn unexpected<E: Error>(found: i128, expected: &str) -> E {
    E::invalid_value(Unexpected::Other(&format!("integer `{found}`")), &expected)
}

/// Reads a whole number in either notation. The field is the expected value, for the error.
struct Whole(&'static str);

impl Visitor<'_> for Whole {
    type Value = i128;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_i64<E>(self, found: i64) -> Result<i128, E> {
        Ok(found.into())
    }

    fn visit_u64<E>(self, found: u64) -> Result<i128, E> {
        Ok(found.into())
    }

    fn visit_f64<E: Error>(self, found: f64) -> Result<i128, E> {
        // Beyond 2^53 several whole numbers share one float.
        if found.fract() == 0.0 && found.abs() <= 2f64.powi(53) {
            return Ok(found as i128);
        }
        Err(E::invalid_value(Unexpected::Float(found), &self))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_are_read_in_either_notation() {
        let count = |text| serde_json::from_str(text).map(|Count(found)| found).ok();
        assert_eq!(
            ["512", "512.0", "5.12e2", "0.0", "-0.0"].map(count),
            [Some(512), Some(512), Some(512), Some(0), Some(0)]
        );
        assert_eq!(
            ["0.5", "-1", "-1.0", "1e300", "\"512\"", "true", "[]"].map(count),
            [None; 7]
        );
        let limit = |text| serde_json::from_str(text).map(|Limit(found)| found).ok();
        assert_eq!(
            ["-1", "-1.0", "40", "-2"].map(limit),
            [Some(None), Some(None), Some(Some(40)), None]
        );
        let off = |text| {
            serde_json::from_str(text)
                .map(|CountOrOff(found)| found)
                .ok()
        };
        assert_eq!(
            ["false", "3", "3.0", "true", "-1"].map(off),
            [Some(None), Some(Some(3)), Some(Some(3)), None, None]
        );
        let seed = |text| serde_json::from_str(text).map(|Seed(found)| found).ok();
        assert_eq!(
            ["-1", "42.0", "18446744073709551615"].map(seed),
            [Some(u64::MAX), Some(42), Some(u64::MAX)]
        );
        assert_eq!(
            ["18446744073709551616", "-9223372036854775809", "1e19"].map(seed),
            [None; 3]
        );
    }
}
