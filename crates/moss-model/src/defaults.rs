//! Default devices and data type.

use moss_cpu::Activations;

use crate::{ComputeDtype, DeviceSpec, ModelError, has_gpu};

impl DeviceSpec {
    /// Returns the default devices: the first GPU, or the CPU of a machine without one.
    /// `newest_code` is that of [`DeviceSpec::Gpu`].
    ///
    /// # Errors
    /// [`ModelError::Gpu`] if the GPU driver does not start.
    pub fn available(newest_code: Option<u32>) -> Result<Vec<Self>, ModelError> {
        let first = Self::Gpu {
            ordinal: 0,
            newest_code,
        };
        Ok(vec![if has_gpu()? { first } else { Self::Cpu }])
    }
}

impl ComputeDtype {
    /// Returns the default data type: f16 with a GPU, or with int8 activations; else f32.
    pub fn default_for(devices: &[DeviceSpec], activations: Activations) -> Self {
        let any_gpu = devices.iter().any(|device| *device != DeviceSpec::Cpu);
        if any_gpu || activations == Activations::Int8 {
            Self::F16
        } else {
            Self::F32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_dtype_is_f16_on_a_gpu_and_with_int8_activations() {
        let gpu = DeviceSpec::Gpu {
            ordinal: 0,
            newest_code: None,
        };
        let of = ComputeDtype::default_for;
        let (f16, f32) = (ComputeDtype::F16, ComputeDtype::F32);
        assert_eq!(of(&[DeviceSpec::Cpu], Activations::Exact), f32);
        assert_eq!(of(&[DeviceSpec::Cpu], Activations::Int8), f16);
        assert_eq!(of(&[DeviceSpec::Cpu, gpu], Activations::Exact), f16);
    }
}
