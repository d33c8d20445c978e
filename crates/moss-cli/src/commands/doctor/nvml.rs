//! The state of the GPUs from the driver's management library (NVML), which is loaded at run time
//! if it exists.

use nvml_wrapper::{Device, Nvml, enum_wrappers::device::Clock, error::NvmlError};
use serde_json::{Value, json};

/// Maximum number of NVLinks of a GPU, from the header of NVML.
const MAX_NVLINKS: u32 = 18;

/// The driver and its GPUs.
pub(super) struct Driver {
    pub(super) version: String,
    pub(super) gpus: Vec<GpuState>,
}

/// The current state of a GPU. Values that it does not report are `None`.
pub(super) struct GpuState {
    pub(super) name: String,
    /// Address on the PCI bus.
    pub(super) bus: Option<String>,
    /// Major and minor compute capability.
    pub(super) capability: Option<(i32, i32)>,
    /// Free and total bytes.
    pub(super) memory: Option<(u64, u64)>,
    /// Clocks of multiprocessors and memory in MHz, current and maximum.
    pub(super) clocks: [Option<(u32, u32)>; 2],
    pub(super) ecc: Option<bool>,
    /// Generation and number of lanes, current and maximum.
    pub(super) pcie: Option<[(u32, u32); 2]>,
    /// Number of active NVLinks.
    pub(super) nvlinks: usize,
}

/// Returns the driver, or `None` if there is no NVIDIA driver.
pub(super) fn driver() -> Option<Driver> {
    // Only development packages have the name without a version.
    let nvml = Nvml::builder()
        .lib_path("libnvidia-ml.so.1".as_ref())
        .init()
        .or_else(|_| Nvml::init())
        .ok()?;
    let count = nvml.device_count().unwrap_or(0);
    Some(Driver {
        version: nvml.sys_driver_version().unwrap_or_default(),
        gpus: (0..count)
            .filter_map(|index| state(&nvml.device_by_index(index).ok()?).ok())
            .collect(),
    })
}

fn state(device: &Device<'_>) -> Result<GpuState, NvmlError> {
    let clock = |of: fn() -> Clock| {
        Some((
            device.clock_info(of()).ok()?,
            device.max_clock_info(of()).ok()?,
        ))
    };
    let pcie = || {
        Some([
            (
                device.current_pcie_link_gen().ok()?,
                device.current_pcie_link_width().ok()?,
            ),
            (
                device.max_pcie_link_gen().ok()?,
                device.max_pcie_link_width().ok()?,
            ),
        ])
    };
    let is_up = |link: &u32| device.link_wrapper_for(*link).is_active().unwrap_or(false);
    Ok(GpuState {
        name: device.name()?,
        bus: device.pci_info().ok().map(|pci| pci.bus_id),
        capability: device
            .cuda_compute_capability()
            .ok()
            .map(|found| (found.major, found.minor)),
        memory: device
            .memory_info()
            .ok()
            .map(|memory| (memory.free, memory.total)),
        clocks: [clock(|| Clock::SM), clock(|| Clock::Memory)],
        ecc: device
            .is_ecc_enabled()
            .ok()
            .map(|state| state.currently_enabled),
        pcie: pcie(),
        nvlinks: (0..MAX_NVLINKS).filter(is_up).count(),
    })
}

impl GpuState {
    pub(super) fn json(&self) -> Value {
        let pair =
            |found: Option<(u32, u32)>| found.map(|(now, most)| json!({ "now": now, "max": most }));
        json!({
            "name": self.name, "bus": self.bus,
            "compute_capability": self.capability.map(|(major, minor)| format!("{major}.{minor}")),
            "free": self.memory.map(|memory| memory.0), "total": self.memory.map(|memory| memory.1),
            "clock_mhz": pair(self.clocks[0]), "memory_clock_mhz": pair(self.clocks[1]), "ecc": self.ecc,
            "pcie": self.pcie.map(|[now, most]| json!({ "now": now, "max": most })), "nvlinks": self.nvlinks,
        })
    }
}
