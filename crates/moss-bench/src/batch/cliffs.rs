//! Cliffs: sizes of a batch that cost more than the next larger one.

use super::BatchTime;

/// A size is a cliff if its step takes more than this multiple of the step of the next larger one:
/// padding it to that size would be faster, and a wait for one more request would pay.
pub const CLIFF_RATIO: f64 = 1.05;

/// A size that costs more than the next larger one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cliff {
    /// Sequences of the slower step.
    pub sequences: usize,
    /// The next larger size that was measured.
    pub next: usize,
    /// Time of the step, divided by that of the next larger size.
    pub ratio: f64,
}

impl Cliff {
    /// Returns the cliffs of `times`, which are in ascending order of sequences.
    pub fn find(times: &[BatchTime]) -> Vec<Self> {
        let cliff = |pair: &[BatchTime]| {
            let [size, next] = pair else { return None };
            let ratio = size.step_s / next.step_s;
            (ratio > CLIFF_RATIO).then_some(Self {
                sequences: size.sequences,
                next: next.sequences,
                ratio,
            })
        };
        times.windows(2).filter_map(cliff).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roofline::DecodeStep;

    fn times<const N: usize>(steps: [(usize, f64); N]) -> [BatchTime; N] {
        steps.map(|(sequences, step_s)| BatchTime {
            sequences,
            steps: 1,
            step_s,
            bytes: DecodeStep {
                weights: 1.0,
                cache: 1.0,
            },
            context: 1.0,
        })
    }

    #[test]
    fn a_size_that_costs_more_than_the_next_larger_one_is_a_cliff() {
        let found = Cliff::find(&times([
            (1, 1.0),
            (2, 1.0),
            (16, 8.0),
            (17, 4.0),
            (32, 3.9),
        ]));
        let expected = Cliff {
            sequences: 16,
            next: 17,
            ratio: 2.0,
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn five_percent_are_allowed_between_neighbours_and_not_over_several_sizes() {
        assert!(Cliff::find(&times([(1, 1.04), (2, 1.0), (3, 0.97)])).is_empty());
        assert!(Cliff::find(&times([(1, 1.0)])).is_empty());
        assert!(Cliff::find(&[]).is_empty());
        let found = Cliff::find(&times([(1, 1.06), (2, 1.0), (3, 0.9)]));
        let sizes: Vec<_> = found.iter().map(|cliff| cliff.sequences).collect();
        assert_eq!(sizes, [1, 2]);
    }
}
