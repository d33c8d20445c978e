//! Advice for a request that does not fit: for each kind of change the smallest that fits, found by
//! trying.

use std::cmp::Reverse;

use super::{Change, Device, DeviceKind, ModelBytes, Request, division::Division};
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
    Division::new(request).shortfalls().is_empty()
}

/// Finds the longest context that fits, in whole blocks.
fn shorter_context(request: &Request<'_>) -> Option<Change> {
    let block = CacheShape::BLOCK_SIZE;
    let contexts: Vec<usize> = (MIN_CONTEXT..=request.model.positions)
        .step_by(block)
        .collect();
    let fitting = contexts.partition_point(|positions| {
        let model = &ModelBytes {
            positions: *positions,
            ..request.model.clone()
        };
        fits(&Request { model, ..*request })
    });
    let positions = *contexts[..fitting].last()?;
    Some(Change::Context { positions })
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
    (1..=MAX_ADDED_GPUS).find_map(|count| {
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
        .then_some(Change::MoreGpus { count, like })
    })
}

/// Returns the layers that the CPU would run as the last stage.
fn cpu(request: &Request<'_>) -> Option<Change> {
    let is_cpu = |device: &Device| device.kind == DeviceKind::Cpu;
    if request.devices.iter().any(is_cpu) {
        return None;
    }
    let devices = &[request.devices, &[UNLIMITED_CPU]].concat()[..];
    let placement = Division::new(&Request {
        devices,
        ..*request
    })
    .placement();
    let stage = placement.stages.last()?;
    (stage.device == request.devices.len()).then(|| Change::Cpu {
        layers: stage.layers.len(),
        bytes: stage.memory.needed(),
    })
}
