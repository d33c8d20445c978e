//! GPUs by their data sheets, for predictions about devices that this machine does not have.

use moss_model::placement::{Device, DeviceKind};

const GIB: u64 = 1 << 30;

/// Bytes of memory that the driver and the context of a program occupy.
pub const DRIVER_MEMORY: u64 = GIB / 2;

/// Bytes of memory that a display occupies on a GPU that drives one.
pub const DISPLAY_MEMORY: u64 = GIB / 2;

/// A GPU by its nominal figures, from public tables; none is measured.
#[derive(Debug, Clone, Copy)]
pub struct KnownGpu {
    /// Its name, as users give it.
    pub name: &'static str,
    /// GiB of memory.
    memory: u64,
    /// ECC occupies a sixteenth of the memory, as the GPU is delivered.
    check_bits: bool,
    /// Is true if the GPU usually drives a display.
    display: bool,
    /// GB per second.
    bandwidth: f64,
    /// 10^12 operations per second on the tensor cores: f16 products, f32 sums, no sparsity.
    tensor: f64,
    /// Compute capability 9.0.
    has_wgmma: bool,
}

/// The GPUs that predictions can be made for.
#[rustfmt::skip] // a table
pub const KNOWN_GPUS: [KnownGpu; 11] = [
    KnownGpu { name: "t4",        memory: 16,  check_bits: true,  display: false, bandwidth: 320.0,  tensor: 65.0, has_wgmma: false },
    KnownGpu { name: "a10",       memory: 24,  check_bits: true,  display: false, bandwidth: 600.0,  tensor: 125.0, has_wgmma: false },
    KnownGpu { name: "l4",        memory: 24,  check_bits: true,  display: false, bandwidth: 300.0,  tensor: 121.0, has_wgmma: false },
    KnownGpu { name: "l40s",      memory: 48,  check_bits: true,  display: false, bandwidth: 864.0,  tensor: 362.0, has_wgmma: false },
    KnownGpu { name: "a100-40",   memory: 40,  check_bits: false, display: false, bandwidth: 1555.0, tensor: 312.0, has_wgmma: false },
    KnownGpu { name: "a100-80",   memory: 80,  check_bits: false, display: false, bandwidth: 2039.0, tensor: 312.0, has_wgmma: false },
    KnownGpu { name: "h100",      memory: 80,  check_bits: false, display: false, bandwidth: 3350.0, tensor: 989.0, has_wgmma: true },
    KnownGpu { name: "h200",      memory: 141, check_bits: false, display: false, bandwidth: 4800.0, tensor: 989.0, has_wgmma: true },
    KnownGpu { name: "rtx2080ti", memory: 11,  check_bits: false, display: true,  bandwidth: 616.0,  tensor: 53.8, has_wgmma: false },
    KnownGpu { name: "rtx3090",   memory: 24,  check_bits: false, display: true,  bandwidth: 936.0,  tensor: 71.0, has_wgmma: false },
    KnownGpu { name: "rtx4090",   memory: 24,  check_bits: false, display: true,  bandwidth: 1008.0, tensor: 165.2, has_wgmma: false },
];

/// Common GPUs that are too old for the kernels, with their compute capability.
const TOO_OLD: [(&str, &str); 3] = [("v100", "7.0"), ("p100", "6.0"), ("p40", "6.1")];

/// A device of a plan.
#[derive(Debug, Clone)]
pub struct PlannedDevice {
    /// The device, as the placement describes it.
    pub device: Device,
    /// Peak operations per second of its tensor cores, if known.
    pub tensor_flops: Option<f64>,
    /// Is true if prompts use the kernels for sm_90.
    pub has_wgmma: bool,
}

impl KnownGpu {
    /// Returns the bytes of memory that a program can use.
    pub fn free(&self) -> u64 {
        let memory = self.memory * GIB;
        let usable = if self.check_bits {
            memory / 16 * 15
        } else {
            memory
        };
        usable - DRIVER_MEMORY - if self.display { DISPLAY_MEMORY } else { 0 }
    }

    /// Returns the GPU of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KNOWN_GPUS.iter().find(|known| known.name == name)
    }

    /// Returns the GPU as device `ordinal` of a plan.
    pub fn device(&self, ordinal: usize) -> PlannedDevice {
        PlannedDevice {
            device: Device {
                name: self.name.to_owned(),
                kind: DeviceKind::Gpu { ordinal },
                free: self.free(),
                bandwidth: self.bandwidth * 1e9,
            },
            tensor_flops: Some(self.tensor * 1e12),
            has_wgmma: self.has_wgmma,
        }
    }
}

/// Returns the compute capability of a GPU that is too old for the kernels, by its name.
pub fn too_old(name: &str) -> Option<&'static str> {
    let old = TOO_OLD.iter().find(|(old, _)| name.starts_with(old));
    old.map(|(_, capability)| *capability)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_is_that_of_the_data_sheet_without_ecc_driver_and_display() {
        let free = |name| KnownGpu::find(name).unwrap().free();
        assert_eq!(
            free("t4"),
            15 * GIB - DRIVER_MEMORY,
            "nvidia-smi shows 15360 MiB"
        );
        assert_eq!(free("a100-40"), 40 * GIB - DRIVER_MEMORY);
        assert_eq!(free("rtx3090"), 23 * GIB);
    }
}
