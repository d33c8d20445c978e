//! Quantiles of a few measurements.

use crate::BenchError;

/// Quantiles of measurements, each of which is one of them (nearest rank).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantiles {
    /// Median.
    pub p50: f64,
    /// 90 % of the measurements are at most this.
    pub p90: f64,
    /// 99 % of the measurements are at most this.
    pub p99: f64,
    /// Maximum.
    pub max: f64,
}

impl Quantiles {
    /// Returns the quantiles of `values`.
    ///
    /// # Errors
    /// [`BenchError::NothingMeasured`] for no values.
    pub fn of(mut values: Vec<f64>) -> Result<Self, BenchError> {
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            let value = values.get(rank - 1).copied();
            value.ok_or(BenchError::NothingMeasured)
        };
        Ok(Self {
            p50: at(50)?,
            p90: at(90)?,
            p99: at(99)?,
            max: at(100)?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u32>) -> [f64; 4] {
        let Quantiles { p50, p90, p99, max } =
            Quantiles::of(values.into_iter().map(f64::from).collect()).unwrap();
        [p50, p90, p99, max]
    }

    #[test]
    fn a_quantile_is_the_smallest_value_that_covers_its_share() {
        assert_eq!(of((1..=100).rev()), [50.0, 90.0, 99.0, 100.0]);
        assert_eq!(of(1..=10), [5.0, 9.0, 10.0, 10.0]);
        assert_eq!(of([3, 1, 2]), [2.0, 3.0, 3.0, 3.0]);
        assert_eq!(of(1..=256), [128.0, 231.0, 254.0, 256.0]);
    }

    #[test]
    fn one_value_is_every_quantile_and_none_is_an_error() {
        assert_eq!(of([7]), [7.0; 4]);
        assert!(matches!(
            Quantiles::of(Vec::new()),
            Err(BenchError::NothingMeasured)
        ));
    }
}
