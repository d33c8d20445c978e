//! What the driver's management library says of the cards. It is loaded at run time, and where it
//! is not there nothing is said.

use nvml_wrapper::{Device, Nvml, enum_wrappers::device::Clock, error::NvmlError};
use serde_json::{Value, json};

/// NVLinks of a card at most, as the library's header has it.
const MAX_NVLINKS: u32 = 18;

/// The driver, and its cards.
pub(super) struct Driver {
    pub(super) version: String,
    pub(super) cards: Vec<CardState>,
}

/// A card as it is now. Every card lacks something; what it does not say is `None`.
pub(super) struct CardState {
    pub(super) name: String,
    /// Where it is on the PCI bus.
    pub(super) bus: Option<String>,
    /// Major and minor.
    pub(super) capability: Option<(i32, i32)>,
    /// Bytes, free and in all.
    pub(super) memory: Option<(u64, u64)>,
    /// Clocks of multiprocessors and memory in MHz: now, and at most.
    pub(super) clocks: [Option<(u32, u32)>; 2],
    pub(super) ecc: Option<bool>,
    /// Generation and lanes: now, and at most.
    pub(super) pcie: Option<[(u32, u32); 2]>,
    /// NVLinks that are up.
    pub(super) nvlinks: usize,
}

/// `None` without a driver.
pub(super) fn driver() -> Option<Driver> {
    // The name without a version belongs to development packages.
    let nvml = Nvml::builder()
        .lib_path("libnvidia-ml.so.1".as_ref())
        .init()
        .or_else(|_| Nvml::init())
        .ok()?;
    let count = nvml.device_count().unwrap_or(0);
    Some(Driver {
        version: nvml.sys_driver_version().unwrap_or_default(),
        cards: (0..count)
            .filter_map(|index| state(&nvml.device_by_index(index).ok()?).ok())
            .collect(),
    })
}

fn state(device: &Device<'_>) -> Result<CardState, NvmlError> {
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
    Ok(CardState {
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

impl CardState {
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
