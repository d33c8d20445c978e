//! A division of the layers among the devices, its shortfalls, and the placement made of it.

use super::{
    Device, LeftOut, Note, Placement, PlacementError, Request, Shortfall, Stage,
    search::{Problem, spans},
};

/// Maximum entries of the device list, more than any host has GPUs.
const MAX_DEVICES: usize = 128;

/// Checks for requests that no division can satisfy.
pub(super) fn check(request: &Request<'_>) -> Result<(), PlacementError> {
    let (devices, layers) = (request.devices, request.model.layers.len());
    if devices.is_empty() {
        return Err(PlacementError::NoDevices);
    }
    if devices.len() > MAX_DEVICES {
        return Err(PlacementError::TooManyDevices {
            found: devices.len(),
            expected: MAX_DEVICES,
        });
    }
    if layers == 0 {
        return Err(PlacementError::NoLayers);
    }
    let is_valid = |device: &&Device| device.bandwidth > 0.0 && device.bandwidth.is_finite();
    if let Some(device) = devices.iter().find(|device| !is_valid(device)) {
        return Err(PlacementError::Bandwidth {
            device: device.name.clone(),
            found: device.bandwidth,
        });
    }
    let Some(counts) = request.layers_per_device else {
        return Ok(());
    };
    if counts.len() != devices.len() {
        return Err(PlacementError::Counts {
            found: counts.len(),
            expected: devices.len(),
        });
    }
    if let Some(device) = counts.iter().position(|count| *count == 0) {
        return Err(PlacementError::Empty { device });
    }
    let sum = counts.iter().copied().fold(0, usize::saturating_add);
    if sum != layers {
        return Err(PlacementError::Sum {
            found: sum,
            expected: layers,
        });
    }
    Ok(())
}

/// The requested or the best division of the layers.
pub(super) struct Division<'a> {
    request: &'a Request<'a>,
    problem: Problem<'a>,
    /// Layers of each entry of the device list.
    counts: Vec<usize>,
}

impl<'a> Division<'a> {
    pub(super) fn new(request: &'a Request<'a>) -> Self {
        let problem = Problem::new(request);
        let counts = request
            .layers_per_device
            .map_or_else(|| problem.best(), <[usize]>::to_vec);
        Self {
            request,
            problem,
            counts,
        }
    }

    /// Returns true if every device has enough memory.
    pub(super) fn fits(&self) -> bool {
        self.shortfalls().is_empty()
    }

    /// Returns the devices with too little memory.
    pub(super) fn shortfalls(&self) -> Vec<Shortfall> {
        let used = self.problem.used(&self.counts).into_iter().enumerate();
        let lacking = used.filter(|(device, needed)| *needed > self.problem.free[*device]);
        let shortfall = |(device, needed): (usize, u64)| {
            let free = self.problem.free[device];
            let entries = self.problem.first_entry.iter().zip(&self.counts);
            let layers = entries.filter(|(first, _)| **first == device);
            Shortfall {
                device,
                name: self.request.devices[device].name.clone(),
                layers: layers.map(|(_, count)| count).sum(),
                needed,
                free,
                missing: needed - free,
            }
        };
        lacking.map(shortfall).collect()
    }

    pub(super) fn placement(&self) -> Placement {
        let (problem, model) = (&self.problem, self.request.model);
        let spans = spans(&self.counts);
        let mut used = problem.used(&self.counts);
        let mut embedding = 0;
        if let Some((entry, _)) = spans.first() {
            let used = &mut used[problem.first_entry[*entry]];
            if model.embedding <= problem.free[*entry].saturating_sub(*used) {
                embedding = model.embedding;
                *used = used.saturating_add(embedding);
            }
        }
        let stages: Vec<Stage> = spans
            .into_iter()
            .map(|(entry, layers)| Stage {
                device: entry,
                has_embedding: layers.start == 0,
                has_head: layers.end == model.layers.len(),
                weights: problem.weights(&layers),
                embedding: if layers.start == 0 { embedding } else { 0 },
                cache: model.cache_per_layer().saturating_mul(layers.len() as u64),
                workspace: model.workspace,
                free_after: problem.free[entry].saturating_sub(used[problem.first_entry[entry]]),
                layers,
            })
            .collect();
        let notes = self.notes(&stages);
        Placement { stages, notes }
    }

    fn notes(&self, stages: &[Stage]) -> Vec<Note> {
        let counts = self.counts.iter().enumerate();
        let mut notes: Vec<Note> = counts
            .filter(|(_, count)| **count == 0)
            .map(|(device, _)| Note::LeftOut {
                device,
                why: self.why_left_out(device),
            })
            .collect();
        let is_cpu = |stage: &&Stage| self.problem.is_cpu(stage.device);
        let on_host = |stage: &Stage| stage.embedding == 0 && !is_cpu(&stage);
        if self.request.model.embedding > 0 && stages.first().is_some_and(on_host) {
            notes.push(Note::EmbeddingOnHost);
        }
        let seconds = |stage: &Stage| stage.token_seconds(&self.request.devices[stage.device], 1.0);
        let on_cpu = || stages.iter().filter(is_cpu);
        if self.problem.has_gpu && on_cpu().next().is_some() {
            notes.push(Note::OnCpu {
                layers: on_cpu().map(|stage| stage.layers.len()).sum(),
                seconds: on_cpu().map(seconds).sum(),
                of_seconds: stages.iter().map(seconds).sum(),
            });
        }
        notes
    }

    fn why_left_out(&self, entry: usize) -> LeftOut {
        let Request { model, devices, .. } = self.request;
        let layers = 0..model.layers.len();
        let smallest = layers.map(|layer| self.problem.needed(&(layer..layer + 1)));
        if self.problem.has_gpu && self.problem.is_cpu(entry) {
            LeftOut::NotNeeded
        } else if smallest
            .min()
            .is_some_and(|bytes| bytes > devices[entry].free)
        {
            LeftOut::TooSmall
        } else if devices.len() > model.layers.len() {
            LeftOut::NoLayersLeft
        } else {
            LeftOut::NoFaster
        }
    }
}
