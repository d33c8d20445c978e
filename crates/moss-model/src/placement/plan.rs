//! The request of a placement, and the resulting plan.

use std::ops::Range;

use super::{ModelBytes, PlacementError, bytes::sum};
use crate::WeightFormat;

/// Maximum entries of the device list, more than any host has GPUs.
const MAX_DEVICES: usize = 128;

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// A GPU. Entries with the same ordinal are one GPU, whose free memory their stages share.
    Gpu {
        /// Its ordinal.
        ordinal: usize,
    },
    /// The CPU with the host's memory. All entries share it.
    Cpu,
}

/// A device for a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Its name, for messages.
    pub name: String,
    /// Its kind.
    pub kind: DeviceKind,
    /// Bytes of its memory that may be used. For several entries of one device, the smallest value
    /// applies.
    pub free: u64,
    /// Read bandwidth, in bytes per second.
    pub bandwidth: f64,
}

/// A model to place, and the devices.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Sizes of the model's parts.
    pub model: &'a ModelBytes,
    /// The devices, in the order of the stages.
    pub devices: &'a [Device],
    /// Layers of each device; `None` for automatic placement.
    pub layers_per_device: Option<&'a [usize]>,
    /// The same network in other formats, largest first, for advice if it does not fit.
    pub other_formats: &'a [(WeightFormat, ModelBytes)],
}

impl Request<'_> {
    /// Checks for requests that no placement can satisfy.
    pub(super) fn check(&self) -> Result<(), PlacementError> {
        let (found, layers) = (self.devices.len(), self.model.layers.len());
        if !(1..=MAX_DEVICES).contains(&found) {
            let expected = MAX_DEVICES;
            return Err(PlacementError::Devices { found, expected });
        }
        if layers == 0 {
            return Err(PlacementError::NoLayers);
        }
        let is_valid = |device: &&Device| device.bandwidth > 0.0 && device.bandwidth.is_finite();
        if let Some(device) = self.devices.iter().find(|device| !is_valid(device)) {
            let (device, found) = (device.name.clone(), device.bandwidth);
            return Err(PlacementError::Bandwidth { device, found });
        }
        let Some(counts) = self.layers_per_device else {
            return Ok(());
        };
        let sum = counts.iter().copied().fold(0, usize::saturating_add);
        if counts.len() == found && !counts.contains(&0) && sum == layers {
            return Ok(());
        }
        let found = counts.iter().map(usize::to_string).collect::<Vec<_>>();
        Err(PlacementError::Layers {
            found: found.join(","),
            devices: self.devices.len(),
            layers,
        })
    }

    /// Returns the entries of the device of `entry`, which share its memory.
    pub(super) fn entries(&self, entry: usize) -> impl Iterator<Item = usize> {
        let kind = self.devices[entry].kind;
        (0..self.devices.len()).filter(move |other| self.devices[*other].kind == kind)
    }

    /// Returns the free bytes of the device of `entry`.
    pub(super) fn free(&self, entry: usize) -> u64 {
        let free = self.entries(entry).map(|entry| self.devices[entry].free);
        free.min().unwrap_or(0)
    }

    /// Returns `layers` as the stage of a device, with the embedding in host memory.
    pub(super) fn stage(&self, device: usize, layers: Range<usize>) -> Stage {
        let (model, free) = (self.model, self.free(device));
        let has_head = layers.end == model.layers.len();
        let head = if has_head { model.head } else { 0 };
        Stage {
            device,
            has_embedding: layers.start == 0,
            has_head,
            weights: sum(model.layers[layers.clone()].iter().copied().chain([head])),
            embedding: 0,
            cache: model.cache_per_layer().saturating_mul(layers.len() as u64),
            workspace: model.workspace.saturating_add(model.unrounded),
            layers,
            free,
            free_after: free,
        }
    }

    /// Returns true for a CPU next to GPUs, which runs what does not fit them.
    pub(super) fn is_fallback(&self, entry: usize) -> bool {
        let is_cpu = |device: &Device| device.kind == DeviceKind::Cpu;
        is_cpu(&self.devices[entry]) && !self.devices.iter().all(is_cpu)
    }
}

/// Consecutive layers on a device, and their use of its memory in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stage {
    /// Index of the device in the request.
    pub device: usize,
    /// Its layers.
    pub layers: Range<usize>,
    /// The stage has the embedding.
    pub has_embedding: bool,
    /// The stage has the final norm and lm_head.
    pub has_head: bool,
    /// Weights of blocks, final norm and lm_head, in the kernels' layout.
    pub weights: u64,
    /// The embedding; 0 if it stays in host memory, from which a token reads one row.
    pub embedding: u64,
    /// Keys and values.
    pub cache: u64,
    /// Activations, scratch and libraries.
    pub workspace: u64,
    /// Free memory of the device before any stage is loaded.
    pub free: u64,
    /// Free memory of the device when all stages are loaded.
    pub free_after: u64,
}

impl Stage {
    /// Returns the bytes of memory that the stage needs.
    pub fn needed(&self) -> u64 {
        sum([self.weights, self.embedding, self.cache, self.workspace])
    }

    /// Returns the bytes that a token reads with a full KV cache.
    pub(super) fn read(&self) -> u64 {
        self.weights.saturating_add(self.cache)
    }

    /// Returns true if the stage reads the rows of the embedding from host memory.
    pub fn embedding_on_host(&self) -> bool {
        self.has_embedding && self.embedding == 0
    }

    /// Returns the minimum time per token in seconds: the bytes read divided by the bandwidth, with
    /// `share` of the KV cache in use (from 0 to 1).
    pub fn token_seconds(&self, device: &Device, share: f64) -> f64 {
        (self.weights as f64 + self.cache as f64 * share) / device.bandwidth
    }
}

/// A reason for a device without layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// The CPU, because all layers fit on the GPUs.
    NotNeeded,
    /// Its memory is too small for a layer.
    TooSmall,
    /// The list has more devices than the model has layers.
    NoLayersLeft,
    /// With layers on it, the slowest stage would not be faster.
    NoFaster,
}

/// A property of a placement that the user should know.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// A device of the list has no stage.
    LeftOut {
        /// Index of the device.
        device: usize,
        /// The reason.
        why: LeftOut,
    },
    /// The embedding stays in host memory, so that the first stage fits.
    EmbeddingOnHost,
    /// Layers that do not fit the GPUs run on the CPU.
    OnCpu {
        /// Layers on the CPU.
        layers: usize,
        /// Seconds per token on the CPU, with a full KV cache.
        seconds: f64,
        /// Seconds per token on all devices.
        of_seconds: f64,
    },
}

/// The stages, in the order of their layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// Every layer once, in order. Every stage has layers.
    pub stages: Vec<Stage>,
    /// Properties that the user should know.
    pub notes: Vec<Note>,
}

impl Placement {
    /// Returns true if the embedding stays in host memory.
    pub fn embedding_on_host(&self) -> bool {
        self.notes.contains(&Note::EmbeddingOnHost)
    }

    /// Returns the layers that do not fit the GPUs and run on the CPU.
    pub(super) fn layers_on_cpu(&self) -> usize {
        let on_cpu = self.notes.iter().filter_map(|note| match note {
            Note::OnCpu { layers, .. } => Some(layers),
            Note::LeftOut { .. } | Note::EmbeddingOnHost => None,
        });
        on_cpu.sum()
    }

    /// Returns the minimum time per token in seconds, the sum over the stages. `devices` are those of
    /// the request, `share` is the used part of the KV cache.
    pub fn token_seconds(&self, devices: &[Device], share: f64) -> f64 {
        let stages = self.stages.iter();
        let placed = stages.filter_map(|stage| Some((stage, devices.get(stage.device)?)));
        placed
            .map(|(stage, device)| stage.token_seconds(device, share))
            .sum()
    }
}
