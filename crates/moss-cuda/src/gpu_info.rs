//! Properties of GPUs.

/// The code that a GPU runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuCode {
    /// Machine code for this architecture (75, 80, 90).
    Machine(u32),
    /// PTX for this architecture, translated by the driver when it is first loaded.
    Ptx(u32),
}

impl std::fmt::Display for GpuCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Machine(architecture) => write!(f, "sm_{architecture}"),
            Self::Ptx(architecture) => write!(f, "compute_{architecture} PTX"),
        }
    }
}

/// Properties of a GPU.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuInfo {
    /// Its number in the order of PCI addresses, among the GPUs of `CUDA_VISIBLE_DEVICES`.
    pub ordinal: usize,
    /// Its name.
    pub name: String,
    /// Compute capability: 10 x major + minor.
    pub capability: u32,
    /// The code that it runs.
    pub code: GpuCode,
    /// Number of multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of memory.
    pub total_memory: u64,
    /// Bytes of L2 cache.
    pub l2_bytes: u64,
    /// Highest clock of the multiprocessors in kHz.
    pub clock_khz: u32,
    /// Highest clock of the memory in kHz.
    pub memory_clock_khz: u32,
    /// Width of the memory bus in bits.
    pub memory_bus_bits: u32,
    /// Is true if its memory corrects errors (ECC).
    pub ecc: bool,
    /// PCI address: domain, bus, device.
    pub pci: (u32, u32, u32),
    /// Version of CUDA that the driver supports: 1000 x major + 10 x minor.
    pub driver_cuda: u32,
}

impl GpuInfo {
    /// Returns the peak memory bandwidth in bytes per second: two transfers per clock over the
    /// whole bus. A GPU that reports no clock counts as 300 GB/s.
    pub fn bandwidth(&self) -> f64 {
        let rate =
            f64::from(self.memory_clock_khz) * 1e3 * 2.0 * f64::from(self.memory_bus_bits) / 8.0;
        if rate > 0.0 { rate } else { 300e9 }
    }
}
