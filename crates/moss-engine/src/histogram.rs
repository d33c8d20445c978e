//! Histograms of durations, for metrics.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds of the buckets in microseconds, inclusive: 0.1 ms to 500 s.
const BOUNDS_US: [u64; 21] = [
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
];
/// The buckets of [`BOUNDS_US`], and one for longer durations.
const BUCKETS: usize = BOUNDS_US.len() + 1;

/// A snapshot of a histogram of durations, with the buckets of Prometheus: fixed upper bounds in
/// steps of 1, 2 and 5, from 0.1 ms to 500 s, and one bucket for longer durations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum_us: u64,
}

impl Histogram {
    /// Returns the buckets in ascending order: the inclusive upper bound in seconds, and the number
    /// of durations in this bucket alone (not cumulative). The last bound is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6);
        bounds.chain([f64::INFINITY]).zip(self.counts)
    }

    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the sum of all durations in seconds.
    pub fn sum_s(&self) -> f64 {
        self.sum_us as f64 / 1e6
    }

    /// Returns an upper bound, in seconds, of the quantile `share` (0 to 1): the bound of its
    /// bucket. `None` without durations.
    pub fn quantile_s(&self, share: f64) -> Option<f64> {
        let rank = (self.count() as f64 * share.clamp(0.0, 1.0))
            .ceil()
            .max(1.0);
        let mut below = 0;
        self.buckets().find_map(|(bound, count)| {
            below += count;
            (below as f64 >= rank).then_some(bound)
        })
    }
}

/// A histogram that is written by one thread and read by others.
#[derive(Debug, Default)]
pub(crate) struct AtomicHistogram {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl AtomicHistogram {
    pub(crate) fn record(&self, time: Duration) {
        let us = u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|bucket| self.counts[bucket].load(Relaxed)),
            sum_us: self.sum_us.load(Relaxed),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(times_us: &[u64]) -> Histogram {
        let histogram = AtomicHistogram::default();
        for us in times_us {
            histogram.record(Duration::from_micros(*us));
        }
        histogram.snapshot()
    }

    #[test]
    fn bounds_are_inclusive_and_longer_durations_have_a_bucket() {
        let histogram = of(&[0, 100, 101, 2_000_000, 2_000_001, 900_000_000]);
        let filled: Vec<_> = histogram
            .buckets()
            .filter(|(_, count)| *count > 0)
            .collect();
        let expected = [
            (0.0001, 2),
            (0.0002, 1),
            (2.0, 1),
            (5.0, 1),
            (f64::INFINITY, 1),
        ];
        assert_eq!(filled, expected);
        assert_eq!(histogram.count(), 6);
        assert!((histogram.sum_s() - 904.000_202).abs() < 1e-9);
    }

    #[test]
    fn fractions_of_a_microsecond_are_rounded_up() {
        let histogram = AtomicHistogram::default();
        histogram.record(Duration::from_nanos(100_001));
        assert_eq!(histogram.snapshot().quantile_s(1.0), Some(0.0002));
    }

    #[test]
    fn an_empty_histogram_has_no_quantile() {
        assert_eq!(Histogram::default().quantile_s(0.5), None);
    }

    proptest! {
        #[test]
        fn every_duration_is_in_the_bucket_of_its_bounds(times in prop::collection::vec(0u64..1_000_000_000, 1..50), share in 0.0f64..1.0) {
            let histogram = of(&times);
            let mut lower = -1.0;
            for (upper, count) in histogram.buckets() {
                let inside = times.iter().map(|us| *us as f64 / 1e6).filter(|s| *s > lower && *s <= upper);
                prop_assert_eq!(inside.count() as u64, count);
                lower = upper;
            }
            let mut sorted = times;
            sorted.sort_unstable();
            let rank = ((sorted.len() as f64 * share).ceil() as usize).max(1) - 1;
            prop_assert!(histogram.quantile_s(share).unwrap() >= sorted[rank] as f64 / 1e6);
        }
    }
}
