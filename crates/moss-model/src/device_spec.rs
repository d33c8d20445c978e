//! The devices that a caller requests.

/// A device to run stages on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceSpec {
    /// The CPU, in the current rayon pool.
    Cpu,
    /// One NVIDIA GPU.
    Gpu {
        /// Its ordinal among the GPUs of `CUDA_VISIBLE_DEVICES`.
        ordinal: usize,
        /// The newest architecture whose kernels may be used, such as 75; `None` for the newest that
        /// the GPU supports.
        newest_code: Option<u32>,
    },
}

impl std::fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("CPU"),
            Self::Gpu { ordinal, .. } => write!(f, "GPU {ordinal}"),
        }
    }
}

impl DeviceSpec {
    /// Parses a list such as `0,1,cpu`: GPU numbers and `cpu`. Returns `None` for any other text.
    /// `newest_code` is that of [`DeviceSpec::Gpu`].
    pub fn parse_list(list: &str, newest_code: Option<u32>) -> Option<Vec<Self>> {
        let device = |name: &str| match name.trim() {
            "cpu" => Some(Self::Cpu),
            number => Some(Self::Gpu {
                ordinal: number.parse().ok()?,
                newest_code,
            }),
        };
        list.split(',').map(device).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_list_contains_gpu_numbers_and_cpu() {
        let gpu = |ordinal| DeviceSpec::Gpu {
            ordinal,
            newest_code: Some(75),
        };
        let parse = |list| DeviceSpec::parse_list(list, Some(75));
        assert_eq!(parse("cpu"), Some(vec![DeviceSpec::Cpu]));
        let devices = vec![gpu(1), DeviceSpec::Cpu, gpu(1)];
        assert_eq!(parse("1, cpu,1"), Some(devices));
        for wrong in ["", "0,", "gpu", "-1", "0;1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
