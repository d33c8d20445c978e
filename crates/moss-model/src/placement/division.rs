//! A division of the layers among the devices, its shortfalls, and the placement made of it.

use std::ops::Range;

use super::{
    DeviceKind, LeftOut, Note, Placement, Request, Shortfall, Stage, bytes::sum, search::best,
};

/// The requested or the best division of the layers.
pub(super) struct Division<'a> {
    request: &'a Request<'a>,
    /// Layers of each entry of the device list.
    counts: Vec<usize>,
}

impl<'a> Division<'a> {
    pub(super) fn new(request: &'a Request<'a>) -> Self {
        let requested = request.layers_per_device.map(<[usize]>::to_vec);
        let counts = requested.unwrap_or_else(|| best(request));
        Self { request, counts }
    }

    /// Returns the layers of an entry.
    fn layers(&self, entry: usize) -> Range<usize> {
        let start = self.counts[..entry].iter().sum();
        start..start + self.counts[entry]
    }

    /// Returns the bytes in use of the device of `entry`, without the embedding.
    fn used(&self, entry: usize) -> u64 {
        let layers = self.request.entries(entry).map(|entry| self.layers(entry));
        let stages = layers.filter(|layers| !layers.is_empty());
        sum(stages.map(|layers| self.request.model.stage(&layers, 0).needed()))
    }

    /// Returns the devices with too little memory.
    pub(super) fn shortfalls(&self) -> Vec<Shortfall> {
        let request = self.request;
        let shortfall = |device: usize| {
            let (needed, free) = (self.used(device), request.free(device));
            let is_first = request.entries(device).next() == Some(device);
            let counts = request.entries(device).map(|entry| self.counts[entry]);
            (is_first && needed > free).then(|| Shortfall {
                device,
                name: request.devices[device].name.clone(),
                layers: counts.sum(),
                needed,
                free,
                missing: needed - free,
            })
        };
        (0..self.counts.len()).filter_map(shortfall).collect()
    }

    pub(super) fn placement(&self) -> Placement {
        let request = self.request;
        let entries = (0..self.counts.len()).filter(|entry| self.counts[*entry] > 0);
        let mut stages: Vec<Stage> = entries
            .map(|entry| {
                let (layers, free) = (self.layers(entry), request.free(entry));
                Stage {
                    device: entry,
                    has_embedding: layers.start == 0,
                    has_head: layers.end == request.model.layers.len(),
                    memory: request.model.stage(&layers, free),
                    free_after: free.saturating_sub(self.used(entry)),
                    layers,
                }
            })
            .collect();
        if stages[0].free_after >= request.model.embedding {
            stages[0].memory.embedding = request.model.embedding;
            let first = request.devices[stages[0].device].kind;
            let is_same = |stage: &&mut Stage| request.devices[stage.device].kind == first;
            for stage in stages.iter_mut().filter(is_same) {
                stage.free_after -= request.model.embedding;
            }
        }
        let notes = self.notes(&stages);
        Placement { stages, notes }
    }

    fn notes(&self, stages: &[Stage]) -> Vec<Note> {
        let Request { model, devices, .. } = *self.request;
        let left_out = (0..devices.len()).filter(|entry| self.counts[*entry] == 0);
        let mut notes: Vec<Note> = left_out
            .map(|device| Note::LeftOut {
                device,
                why: self.why_left_out(device),
            })
            .collect();
        let first = &stages[0];
        let is_cpu = devices[first.device].kind == DeviceKind::Cpu;
        if first.memory.embedding < model.embedding && !is_cpu {
            notes.push(Note::EmbeddingOnHost);
        }
        let seconds = |stage: &Stage| stage.token_seconds(&devices[stage.device], 1.0);
        let is_fallback = |stage: &&Stage| self.request.is_fallback(stage.device);
        let on_cpu = || stages.iter().filter(is_fallback);
        if on_cpu().next().is_some() {
            notes.push(Note::OnCpu {
                layers: on_cpu().map(|stage| stage.layers.len()).sum(),
                seconds: on_cpu().map(seconds).sum(),
                of_seconds: stages.iter().map(seconds).sum(),
            });
        }
        notes
    }

    fn why_left_out(&self, entry: usize) -> LeftOut {
        let Request { model, devices, .. } = *self.request;
        let single = (0..model.layers.len()).map(|layer| model.stage(&(layer..layer + 1), 0));
        let smallest = single.map(|stage| stage.needed()).min();
        if self.request.is_fallback(entry) {
            LeftOut::NotNeeded
        } else if smallest > Some(devices[entry].free) {
            LeftOut::TooSmall
        } else if devices.len() > model.layers.len() {
            LeftOut::NoLayersLeft
        } else {
            LeftOut::NoFaster
        }
    }
}
