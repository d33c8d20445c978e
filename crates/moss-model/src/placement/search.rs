//! The search for the best placement: dynamic programming over devices and layers.
//!
//! A partial division of the layers is dropped if another one of the same layers and devices costs no
//! more, and uses no more memory of any device that is listed again. If every device is listed once,
//! one partial division per number of layers remains, and the result is exact. If devices are listed
//! several times and layers differ in size, at most [`MAX_PARTIAL`] are kept, and the result may be
//! suboptimal.

use super::{DeviceKind, LeftOut, Note, Placement, Request, Shortfall, Stage, bytes::sum};

/// Maximum partial divisions of the same number of layers.
const MAX_PARTIAL: usize = 64;

/// A division of the first layers among the first entries of the device list.
#[derive(Clone)]
struct Partial {
    /// Missing bytes of memory; bytes that the CPU reads if there are GPUs; nanoseconds of the
    /// stages, slowest first. Compared in this order.
    cost: (u64, u64, Vec<u64>),
    /// Bytes in use of each device, at its first entry; 0 after its last entry.
    used: Vec<u64>,
    /// Layers of each entry.
    counts: Vec<usize>,
}

impl Partial {
    fn dominates(&self, other: &Self) -> bool {
        let mut used = self.used.iter().zip(&other.used);
        self.cost <= other.cost && used.all(|(used, other)| used <= other)
    }

    /// Adds the stage of the next entry, which may have no layers.
    fn extend(&self, request: &Request<'_>, stage: &Stage) -> Self {
        let entry = stage.device;
        let device = request.entries(entry).next().unwrap_or(entry);
        let mut next = self.clone();
        next.counts.push(stage.layers.len());
        if !stage.layers.is_empty() {
            let used = [0, stage.needed()].map(|more| self.used[device].saturating_add(more));
            next.used[device] = used[1];
            let [before, after] = used.map(|used| used.saturating_sub(stage.free));
            let (missing, on_cpu, times) = &mut next.cost;
            *missing = missing.saturating_add(after - before);
            if request.is_fallback(entry) {
                *on_cpu = on_cpu.saturating_add(stage.read());
            }
            let seconds = stage.read() as f64 / request.devices[entry].bandwidth;
            let time = (seconds * 1e9).round() as u64;
            times.insert(times.partition_point(|slower| *slower > time), time);
        }
        if request.entries(entry).last() == Some(entry) {
            next.used[device] = 0;
        }
        next
    }
}

/// Returns the requested layers of each entry, or the best: within memory if possible, else with the
/// fewest missing bytes; then with the least work on the CPU; then with the fastest slowest stage, the
/// fastest second slowest stage, and so on. Of equal divisions, the last entries get the fewest layers.
fn best_counts(request: &Request<'_>) -> Vec<usize> {
    if let Some(counts) = request.layers_per_device {
        return counts.to_vec();
    }
    let layers = request.model.layers.len();
    // divisions[end]: of the first `end` layers among the entries so far.
    let mut divisions = vec![Vec::new(); layers + 1];
    divisions[0].push(Partial {
        cost: (0, 0, Vec::new()),
        used: vec![0; request.devices.len()],
        counts: Vec::new(),
    });
    for entry in 0..request.devices.len() {
        let extended = (0..=layers).map(|end| {
            let mut kept = Vec::new();
            for start in (0..=end).rev() {
                let stage = request.stage(entry, start..end);
                let add = |first: &Partial| first.extend(request, &stage);
                keep(&mut kept, divisions[start].iter().map(add));
            }
            kept
        });
        divisions = extended.collect();
    }
    let all = divisions.pop().into_iter().flatten();
    let best = all.min_by(|a, b| a.cost.cmp(&b.cost));
    best.map_or_else(Vec::new, |best| best.counts)
}

/// Adds divisions to those worth keeping: half of them by cost, and half by memory.
fn keep(kept: &mut Vec<Partial>, added: impl Iterator<Item = Partial>) {
    for next in added {
        if !kept.iter().any(|other| other.dominates(&next)) {
            kept.retain(|other| !next.dominates(other));
            kept.push(next);
        }
    }
    if kept.len() > MAX_PARTIAL {
        kept.sort_by(|a, b| a.cost.cmp(&b.cost));
        let memory = |division: &Partial| (division.cost.0, sum(division.used.iter().copied()));
        kept[MAX_PARTIAL / 2..].sort_by_key(memory);
        kept.truncate(MAX_PARTIAL);
    }
}

/// Returns the requested or the best placement.
///
/// # Errors
/// The devices that have too little memory for it.
pub(super) fn best(request: &Request<'_>) -> Result<Placement, Vec<Shortfall>> {
    let (mut stages, mut start) = (Vec::new(), 0);
    for (device, count) in best_counts(request).into_iter().enumerate() {
        if count > 0 {
            stages.push(request.stage(device, start..start + count));
        }
        start += count;
    }
    let shortfalls = shortfalls(request, &stages);
    if !shortfalls.is_empty() {
        return Err(shortfalls);
    }
    let unused = |stages: &[Stage], index: usize| {
        let needed = on_device(request, stages, stages[index].device).map(Stage::needed);
        stages[index].free - sum(needed)
    };
    if unused(&stages, 0) >= request.model.embedding {
        stages[0].embedding = request.model.embedding;
    }
    for index in 0..stages.len() {
        stages[index].free_after = unused(&stages, index);
    }
    let notes = notes(request, &stages);
    Ok(Placement { stages, notes })
}

/// Returns the stages on the device of `entry`.
fn on_device<'a>(
    request: &Request<'_>,
    stages: &'a [Stage],
    entry: usize,
) -> impl Iterator<Item = &'a Stage> {
    let kind = request.devices[entry].kind;
    let is_here = move |stage: &&Stage| request.devices[stage.device].kind == kind;
    stages.iter().filter(is_here)
}

/// Returns the devices with too little memory, without the embedding.
fn shortfalls(request: &Request<'_>, stages: &[Stage]) -> Vec<Shortfall> {
    let shortfall = |device: usize| {
        let here = || on_device(request, stages, device);
        let (needed, free) = (sum(here().map(Stage::needed)), request.free(device));
        let is_first = request.entries(device).next() == Some(device);
        (is_first && needed > free).then(|| Shortfall {
            device,
            name: request.devices[device].name.clone(),
            layers: here().map(|stage| stage.layers.len()).sum(),
            needed,
            free,
            missing: needed - free,
        })
    };
    (0..request.devices.len()).filter_map(shortfall).collect()
}

fn notes(request: &Request<'_>, stages: &[Stage]) -> Vec<Note> {
    let Request { model, devices, .. } = *request;
    let has_stage = |device: &usize| stages.iter().any(|stage| stage.device == *device);
    let left_out = (0..devices.len()).filter(|device| !has_stage(device));
    let note = |device| Note::LeftOut {
        device,
        why: why_left_out(request, device),
    };
    let mut notes: Vec<Note> = left_out.map(note).collect();
    let is_cpu = devices[stages[0].device].kind == DeviceKind::Cpu;
    if stages[0].embedding < model.embedding && !is_cpu {
        notes.push(Note::EmbeddingOnHost);
    }
    let seconds = |stage: &Stage| stage.token_seconds(&devices[stage.device], 1.0);
    let on_cpu = || {
        stages
            .iter()
            .filter(|stage| request.is_fallback(stage.device))
    };
    if on_cpu().next().is_some() {
        notes.push(Note::OnCpu {
            layers: on_cpu().map(|stage| stage.layers.len()).sum(),
            seconds: on_cpu().map(seconds).sum(),
            of_seconds: stages.iter().map(seconds).sum(),
        });
    }
    notes
}

fn why_left_out(request: &Request<'_>, entry: usize) -> LeftOut {
    let layers = request.model.layers.len();
    let single = (0..layers).map(|layer| request.stage(entry, layer..layer + 1));
    if request.is_fallback(entry) {
        LeftOut::NotNeeded
    } else if single.map(|stage| stage.needed()).min() > Some(request.devices[entry].free) {
        LeftOut::TooSmall
    } else if request.devices.len() > layers {
        LeftOut::NoLayersLeft
    } else {
        LeftOut::NoFaster
    }
}
