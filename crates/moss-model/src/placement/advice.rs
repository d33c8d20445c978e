//! Advice for a request that does not fit: for each kind of change the smallest that fits, found by
//! trying.

use std::cmp::Reverse;

use super::{Change, Device, DeviceKind, Request, search::best};
use crate::CacheShape;

/// The shortest context that is useful for a conversation.
const MIN_CONTEXT: usize = 256;

/// The maximum number of additional GPUs to suggest.
const MAX_ADDED_GPUS: usize = 8;

/// A CPU with unlimited memory.
const UNLIMITED_CPU: Device = Device {
    name: String::new(),
    kind: DeviceKind::Cpu,
    free: u64::MAX,
    bandwidth: 1e9,
};

/// Returns changes that make `request` fit, from the smallest to the largest.
pub(super) fn changes(request: &Request<'_>) -> Vec<Change> {
    let automatic = Request {
        layers_per_device: None,
        ..*request
    };
    if request.layers_per_device.is_some() && fits(&automatic) {
        return vec![Change::Division];
    }
    let kinds = [shorter_context, other_format, more_gpus, cpu];
    kinds
        .iter()
        .filter_map(|change| change(&automatic))
        .collect()
}

fn fits(request: &Request<'_>) -> bool {
    best(request).is_ok()
}

/// Finds the longest context that fits, in whole blocks.
fn shorter_context(request: &Request<'_>) -> Option<Change> {
    let [shortest, longest] =
        [MIN_CONTEXT, request.model.positions].map(|positions| positions / CacheShape::BLOCK_SIZE);
    let fits = |blocks: usize| {
        let model = &request.model.with_blocks(blocks);
        fits(&Request { model, ..*request })
    };
    (shortest <= longest && fits(shortest)).then(|| Change::Context {
        positions: largest(shortest, longest, fits) * CacheShape::BLOCK_SIZE,
    })
}

/// Returns the largest number from `low`, which fits, to `high` that fits.
pub(super) fn largest(mut low: usize, mut high: usize, fits: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = (low + high).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// Finds the largest other format that fits.
fn other_format(request: &Request<'_>) -> Option<Change> {
    let mut formats = request.other_formats.iter();
    let found = formats.find(|(_, model)| fits(&Request { model, ..*request }));
    found.map(|(format, _)| Change::Format(*format))
}

/// Finds the smallest number of additional GPUs, equal to the one with the most memory, that fits.
fn more_gpus(request: &Request<'_>) -> Option<Change> {
    let entries = request.devices.iter().enumerate();
    let gpus = entries.filter(|(_, device)| device.kind != DeviceKind::Cpu);
    let (like, template) = gpus.max_by_key(|(index, gpu)| (gpu.free, Reverse(*index)))?;
    let mut devices = request.devices.to_vec();
    let count = (1..=MAX_ADDED_GPUS).find(|count| {
        // Ordinals that no machine has.
        let ordinal = usize::MAX - count;
        devices.push(Device {
            kind: DeviceKind::Gpu { ordinal },
            ..template.clone()
        });
        let devices = &devices;
        fits(&Request {
            devices,
            ..*request
        })
    })?;
    Some(Change::MoreGpus { count, like })
}

/// Returns the layers that the CPU would run as the last stage.
fn cpu(request: &Request<'_>) -> Option<Change> {
    let is_cpu = |device: &Device| device.kind == DeviceKind::Cpu;
    if request.devices.iter().any(is_cpu) {
        return None;
    }
    let devices = &[request.devices, &[UNLIMITED_CPU]].concat()[..];
    let placement = best(&Request {
        devices,
        ..*request
    });
    let stages = placement.ok()?.stages;
    let stage = stages.last()?;
    (stage.device == request.devices.len()).then(|| Change::Cpu {
        layers: stage.layers.len(),
        bytes: stage.needed(),
    })
}
