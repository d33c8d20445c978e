//! Placement: properties for any sizes and devices, comparison with exhaustive search, and plans for
//! the published sizes.
#![allow(clippy::unwrap_used)]

mod capacities;
mod plans;
mod properties;

use moss_model::placement::{Device, DeviceKind, ModelBytes, Placement, Request};

pub(crate) const GIB: u64 = 1 << 30;

pub(crate) fn model(
    layers: &[u64],
    embedding: u64,
    head: u64,
    cache: u64,
    workspace: u64,
) -> ModelBytes {
    ModelBytes {
        layers: layers.to_vec(),
        embedding,
        head,
        cache_per_position: cache,
        positions: 1,
        unrounded: 0,
        workspace,
    }
}

pub(crate) fn gpu(ordinal: usize, free: u64, bandwidth: f64) -> Device {
    Device {
        name: format!("GPU {ordinal}"),
        kind: DeviceKind::Gpu { ordinal },
        free,
        bandwidth,
    }
}

pub(crate) fn cpu(free: u64, bandwidth: f64) -> Device {
    Device {
        name: "cpu".into(),
        kind: DeviceKind::Cpu,
        free,
        bandwidth,
    }
}

pub(crate) fn request<'a>(model: &'a ModelBytes, devices: &'a [Device]) -> Request<'a> {
    Request {
        model,
        devices,
        layers_per_device: None,
        other_formats: &[],
    }
}

pub(crate) fn counts(placement: &Placement) -> Vec<usize> {
    placement
        .stages
        .iter()
        .map(|stage| stage.layers.len())
        .collect()
}
