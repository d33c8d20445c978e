//! Element types of dense weights, and the conversion of stored values, little-endian and of any
//! alignment, to f32 and f16.

use half::{bf16, f16};

/// Element type of a dense weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DenseDtype {
    F32,
    F16,
    BF16,
}

impl DenseDtype {
    /// Returns the bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    /// Converts stored values to f32: `values` holds as many as `to`.
    pub fn widen(self, values: &[u8], to: &mut [f32]) {
        match self {
            Self::F32 => each(values, to, f32::from_le_bytes),
            Self::F16 => each(values, to, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Self::BF16 => each(values, to, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        }
    }

    /// Converts stored values to f16, rounding to nearest even: `values` holds as many as `to`.
    pub fn to_f16(self, values: &[u8], to: &mut [f16]) {
        match self {
            Self::F32 => each(values, to, |b| f16::from_f32(f32::from_le_bytes(b))),
            Self::F16 => each(values, to, f16::from_le_bytes),
            Self::BF16 => each(values, to, |b| {
                f16::from_f32(bf16::from_le_bytes(b).to_f32())
            }),
        }
    }
}

/// Converts each run of `N` bytes to one value.
fn each<const N: usize, T>(values: &[u8], to: &mut [T], convert: impl Fn([u8; N]) -> T) {
    let (values, _) = values.as_chunks::<N>();
    for (to, bytes) in to.iter_mut().zip(values) {
        *to = convert(*bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_values_become_f32_exactly_and_f16_rounded() {
        let values = [1.0f32, -0.1, 65_504.0, 1e-9];
        let stored = |dtype| -> Vec<u8> {
            let bytes = |value: &f32| match dtype {
                DenseDtype::F32 => value.to_le_bytes().to_vec(),
                DenseDtype::F16 => f16::from_f32(*value).to_le_bytes().to_vec(),
                DenseDtype::BF16 => bf16::from_f32(*value).to_le_bytes().to_vec(),
            };
            values.iter().flat_map(bytes).collect()
        };
        for dtype in [DenseDtype::F32, DenseDtype::F16, DenseDtype::BF16] {
            let exact = values.map(|value| match dtype {
                DenseDtype::F32 => value,
                DenseDtype::F16 => f16::from_f32(value).to_f32(),
                DenseDtype::BF16 => bf16::from_f32(value).to_f32(),
            });
            let (mut wide, mut narrow) = ([0.0; 4], [f16::ZERO; 4]);
            dtype.widen(&stored(dtype), &mut wide);
            dtype.to_f16(&stored(dtype), &mut narrow);
            assert_eq!(wide, exact, "{dtype:?}");
            assert_eq!(narrow, exact.map(f16::from_f32), "{dtype:?}");
        }
    }
}
