//! The quantization grid of a group: the values `scale * (q - zero)` for `q` from 0 to
//! `2^bits - 1`.

use half::f16;

/// Scale and zero point of the weights that share them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Grid {
    /// Representable in f16, as it is stored.
    pub(crate) scale: f32,
    /// 1 to `2^bits`: the layout stores `zero - 1`, unsigned.
    pub(crate) zero: f32,
    top: f32,
}

impl Grid {
    /// Returns the grid of each column of `values`, `[rows, width]`, covering its range and zero.
    /// Returns `None` if a scale exceeds the range of f16, or a value is not finite.
    pub(crate) fn of_columns(values: &[f32], width: usize, bits: u32) -> Option<Vec<Self>> {
        if !values.iter().all(|value| value.is_finite()) {
            return None;
        }
        let (mut low, mut high) = (vec![0.0f32; width], vec![0.0f32; width]);
        for row in values.chunks_exact(width) {
            low.iter_mut()
                .zip(row)
                .for_each(|(low, value)| *low = low.min(*value));
            high.iter_mut()
                .zip(row)
                .for_each(|(high, value)| *high = high.max(*value));
        }
        low.iter()
            .zip(&high)
            .map(|(low, high)| Self::spanning(*low, *high, bits))
            .collect()
    }

    /// Returns the grid from `low`, at most 0, to `high`, at least 0.
    fn spanning(low: f32, high: f32, bits: u32) -> Option<Self> {
        let top = ((1u32 << bits) - 1) as f32;
        // A group of zeros gets the smallest positive f16.
        let scale = f16::from_f32((high - low) / top)
            .to_f32()
            .max(f16::from_bits(1).to_f32());
        let zero = (-low / scale).round_ties_even().clamp(1.0, top + 1.0);
        scale.is_finite().then_some(Self { scale, zero, top })
    }

    /// Returns the field of the nearest grid value; ties are rounded to even, as in PyTorch.
    pub(crate) fn round(&self, value: f32) -> u8 {
        ((value / self.scale).round_ties_even() + self.zero).clamp(0.0, self.top) as u8
    }

    /// Returns the grid value of field `q`.
    pub(crate) fn value(&self, q: u8) -> f32 {
        self.scale * (f32::from(q) - self.zero)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_weight_is_within_one_step_of_its_grid_value(
            values in prop::collection::vec(-3.0f32..3.0, 1..64),
            shift in -4.0f32..4.0,
            bits in prop::sample::select(vec![4u32, 8]),
        ) {
            let values: Vec<f32> = values.iter().map(|value| value + shift).collect();
            let grid = Grid::of_columns(&values, 1, bits).unwrap()[0];
            prop_assert_eq!(f16::from_f32(grid.scale).to_f32(), grid.scale);
            prop_assert!(grid.zero >= 1.0 && grid.zero <= (1 << bits) as f32);
            for value in values {
                // Half a step for rounding, half for the zero point, which is an integer; f16 rounds
                // the scale by 2^-11 of each step.
                let allowed = grid.scale * (1.0 + (1 << bits) as f32 / 2048.0);
                prop_assert!((grid.value(grid.round(value)) - value).abs() <= allowed);
            }
        }
    }

    #[test]
    fn zeros_stay_zeros_and_values_out_of_range_are_rejected() {
        let zeros = Grid::of_columns(&[0.0; 4], 1, 4).unwrap()[0];
        assert_eq!(zeros.value(zeros.round(0.0)), 0.0);
        assert_eq!(Grid::of_columns(&[1.0, f32::NAN], 1, 4), None);
        assert_eq!(Grid::of_columns(&[1e30], 1, 4), None);
    }
}
