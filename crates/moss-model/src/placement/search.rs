//! The search for the best division of the layers: dynamic programming over devices and layers.
//!
//! A partial division is dropped if another one of the same layers and devices costs no more, and
//! uses no more memory of any device that is listed again. If every device is listed once, one
//! partial division per number of layers remains, and the result is exact. If devices are listed
//! several times and layers differ in size, at most [`MAX_PARTIAL`] are kept, and the result may be
//! suboptimal.

use super::{MemoryPlan, Request, bytes::sum};

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

    /// Adds a number of layers on the next entry, with their memory.
    fn extend(&self, request: &Request<'_>, layers: usize, memory: &MemoryPlan) -> Self {
        let entry = self.counts.len();
        let mut next = self.clone();
        next.counts.push(layers);
        let device = request.entries(entry).next().unwrap_or(entry);
        if layers > 0 {
            let before = self.used[device];
            let after = before.saturating_add(memory.needed());
            next.used[device] = after;
            let excess = |used: u64| used.saturating_sub(memory.free);
            let (missing, on_cpu, times) = &mut next.cost;
            *missing = missing.saturating_add(excess(after) - excess(before));
            if request.is_fallback(entry) {
                *on_cpu = on_cpu.saturating_add(memory.read());
            }
            let seconds = memory.read() as f64 / request.devices[entry].bandwidth;
            let time = (seconds * 1e9).round() as u64;
            times.insert(times.partition_point(|slower| *slower > time), time);
        }
        if request.entries(entry).last() == Some(entry) {
            next.used[device] = 0;
        }
        next
    }
}

/// Returns the layers of each entry: within memory if possible, else with the fewest missing bytes;
/// then with the least work on the CPU; then with the fastest slowest stage, the fastest second
/// slowest stage, and so on. Of equal divisions, the last entries get the fewest layers.
pub(super) fn best(request: &Request<'_>) -> Vec<usize> {
    let layers = request.model.layers.len();
    // divisions[end]: of the first `end` layers among the entries so far.
    let mut divisions = vec![Vec::new(); layers + 1];
    divisions[0].push(Partial {
        cost: (0, 0, Vec::new()),
        used: vec![0; request.devices.len()],
        counts: Vec::new(),
    });
    for entry in 0..request.devices.len() {
        let free = request.free(entry);
        let extended = (0..=layers).map(|end| {
            let mut kept = Vec::new();
            for start in (0..=end).rev() {
                let memory = request.model.stage(&(start..end), free);
                let add = |first: &Partial| first.extend(request, end - start, &memory);
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
