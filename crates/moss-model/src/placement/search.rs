//! The search for the best division of the layers: dynamic programming over devices and layers.
//!
//! A label is a partial division: the first layers on the first devices of the list. A label is
//! dropped if another one of the same layers and devices costs no more, and uses no more memory of
//! any device that is listed again later. If every device is listed once, one label per cell remains
//! and the result is exact. If devices are listed several times and layers differ in size, at most
//! [`MAX_LABELS`] labels are kept per cell, and the result may be suboptimal.

use std::ops::Range;

use super::{DeviceKind, Request};

/// Maximum labels per cell.
const MAX_LABELS: usize = 64;

/// Missing bytes of memory; bytes that the CPU reads if there are GPUs; the objective. Compared in
/// this order.
type Cost = [u128; 3];

/// A request, prepared for the search.
pub(super) struct Problem<'a> {
    request: &'a Request<'a>,
    /// Bytes of weights before each layer, and of all layers.
    weights_before: Vec<u64>,
    /// The first list entry of the same device, for each entry. It identifies the device.
    pub(super) first_entry: Vec<usize>,
    /// Free bytes of each entry's device.
    pub(super) free: Vec<u64>,
    /// Index in [`Label::used`], for entries of a device that is listed several times.
    slot: Vec<Option<usize>>,
    /// The CPU is a fallback for what does not fit the GPUs.
    pub(super) has_gpu: bool,
}

/// A partial division.
#[derive(Clone)]
struct Label {
    cost: Cost,
    /// Bytes in use of each device that is listed several times; 0 after its last entry.
    used: Vec<u64>,
    /// Layers before those of the last entry, and the index of their label.
    previous: (usize, usize),
}

impl Label {
    fn dominates(&self, other: &Self) -> bool {
        let mut used = self.used.iter().zip(&other.used);
        self.cost <= other.cost && used.all(|(used, other)| used <= other)
    }

    fn total_used(&self) -> u128 {
        self.used.iter().map(|bytes| u128::from(*bytes)).sum()
    }
}

impl<'a> Problem<'a> {
    pub(super) fn new(request: &'a Request<'a>) -> Self {
        let devices = request.devices;
        let entries_of = |kind: DeviceKind| {
            let entries = devices.iter().enumerate();
            entries.filter(move |(_, device)| device.kind == kind)
        };
        let first_entry = |kind| entries_of(kind).map(|(entry, _)| entry).next();
        let first_entry: Vec<usize> = devices
            .iter()
            .map(|device| first_entry(device.kind).unwrap_or(0))
            .collect();
        let free = |kind| entries_of(kind).map(|(_, device)| device.free).min();
        let shared: Vec<usize> = (0..devices.len())
            .filter(|entry| first_entry[*entry] == *entry)
            .filter(|entry| entries_of(devices[*entry].kind).count() > 1)
            .collect();
        let mut sum = 0u64;
        let sums = request.model.layers.iter().map(|bytes| {
            sum = sum.saturating_add(*bytes);
            sum
        });
        Self {
            request,
            weights_before: [0].into_iter().chain(sums).collect(),
            free: devices
                .iter()
                .map(|device| free(device.kind).unwrap_or(0))
                .collect(),
            slot: first_entry
                .iter()
                .map(|first| shared.binary_search(first).ok())
                .collect(),
            first_entry,
            has_gpu: devices.iter().any(|device| device.kind != DeviceKind::Cpu),
        }
    }

    /// Returns the bytes of weights of `layers`, with final norm and lm_head if they are the last.
    pub(super) fn weights(&self, layers: &Range<usize>) -> u64 {
        let model = self.request.model;
        let is_last = layers.end == model.layers.len();
        let weights = self.weights_before[layers.end] - self.weights_before[layers.start];
        weights.saturating_add(if is_last { model.head } else { 0 })
    }

    /// Returns the bytes that a token reads with a full KV cache.
    fn read(&self, layers: &Range<usize>) -> u64 {
        let cache = self.request.model.cache_per_layer();
        let cache = cache.saturating_mul(layers.len() as u64);
        self.weights(layers).saturating_add(cache)
    }

    /// Returns the bytes of a stage without the embedding, which may stay in host memory.
    pub(super) fn needed(&self, layers: &Range<usize>) -> u64 {
        let workspace = self.request.model.workspace;
        self.read(layers).saturating_add(workspace)
    }

    /// Returns the time of a stage per token.
    fn nanoseconds(&self, entry: usize, layers: &Range<usize>) -> u64 {
        (self.read(layers) as f64 / self.request.devices[entry].bandwidth * 1e9).round() as u64
    }

    pub(super) fn is_cpu(&self, entry: usize) -> bool {
        self.request.devices[entry].kind == DeviceKind::Cpu
    }

    /// Returns the layers of each entry: within memory if possible, else with the fewest missing
    /// bytes; then with the least work on the CPU; then with the fastest slowest stage; then with
    /// the smallest sum of squared times.
    pub(super) fn best(&self) -> Vec<usize> {
        let (fast, cost) = self.search(None);
        let spans = spans(&fast);
        let times = spans.iter().map(|span| self.nanoseconds(span.0, &span.1));
        let (even, even_cost) = self.search(times.max());
        // With dropped labels, the second search may miss the result of the first.
        if even_cost[..2] == cost[..2] {
            even
        } else {
            fast
        }
    }

    /// Returns the layers of each entry in the best division, and its cost. The objective is the time
    /// of the slowest stage, or, with a `limit` of that time in nanoseconds, the sum of squared
    /// times. Without a solution, the cost is the maximum.
    fn search(&self, limit: Option<u64>) -> (Vec<usize>, Cost) {
        let (entries, layers) = (self.slot.len(), self.request.model.layers.len());
        let empty = Label {
            cost: [0; 3],
            used: vec![0; self.slot.iter().flatten().count()],
            previous: (0, 0),
        };
        // steps[entry][end]: labels of the first `end` layers on the entries before `entry`.
        let mut steps = vec![vec![Vec::new(); layers + 1]];
        steps[0][0].push(empty);
        for entry in 0..entries {
            let step = (0..=layers).map(|end| self.labels(&steps[entry], entry, end, limit));
            steps.push(step.collect());
        }
        let mut counts = vec![0; entries];
        let labels = steps[entries][layers].iter().enumerate();
        let Some((mut index, best)) = labels.min_by_key(|(_, label)| label.cost) else {
            return (counts, [u128::MAX; 3]);
        };
        let (mut end, cost) = (layers, best.cost);
        for entry in (0..entries).rev() {
            let (start, previous) = steps[entry + 1][end][index].previous;
            counts[entry] = end - start;
            (end, index) = (start, previous);
        }
        (counts, cost)
    }

    /// Returns the labels of the first `end` layers after `entry`. Of labels with equal cost, that
    /// with the fewest layers on `entry` is kept.
    fn labels(
        &self,
        step: &[Vec<Label>],
        entry: usize,
        end: usize,
        limit: Option<u64>,
    ) -> Vec<Label> {
        let mut kept: Vec<Label> = Vec::new();
        for start in (0..=end).rev() {
            for (index, label) in step[start].iter().enumerate() {
                let Some(mut next) = self.extend(label, entry, start..end, limit) else {
                    continue;
                };
                next.previous = (start, index);
                if !kept.iter().any(|label| label.dominates(&next)) {
                    kept.retain(|label| !next.dominates(label));
                    kept.push(next);
                }
                if kept.len() > MAX_LABELS {
                    // Keep half of them by cost, and half by memory.
                    kept.sort_by_key(|label| label.cost);
                    kept[MAX_LABELS / 2..].sort_by_key(|label| (label.cost[0], label.total_used()));
                    kept.truncate(MAX_LABELS);
                }
            }
        }
        kept
    }

    /// Adds `layers` on `entry`. Returns `None` if the stage is slower than `limit`.
    fn extend(
        &self,
        label: &Label,
        entry: usize,
        layers: Range<usize>,
        limit: Option<u64>,
    ) -> Option<Label> {
        let mut next = label.clone();
        let slot = self.slot[entry];
        if !layers.is_empty() {
            let time = self.nanoseconds(entry, &layers);
            let [missing, on_cpu, objective] = &mut next.cost;
            *objective = match limit {
                None => u128::from(time).max(*objective),
                Some(limit) if time > limit => return None,
                Some(_) => objective.saturating_add(u128::from(time) * u128::from(time)),
            };
            let before = slot.map_or(0, |slot| label.used[slot]);
            let after = before.saturating_add(self.needed(&layers));
            let excess = |used: u64| used.saturating_sub(self.free[entry]);
            *missing = missing.saturating_add(u128::from(excess(after) - excess(before)));
            if self.has_gpu && self.is_cpu(entry) {
                *on_cpu = on_cpu.saturating_add(u128::from(self.read(&layers)));
            }
            if let Some(slot) = slot {
                next.used[slot] = after;
            }
        }
        if let Some(slot) = slot
            && !self.slot[entry + 1..].contains(&Some(slot))
        {
            next.used[slot] = 0; // later stages do not share the device
        }
        Some(next)
    }

    /// Returns the bytes in use of each device, at its first entry, without the embedding.
    pub(super) fn used(&self, counts: &[usize]) -> Vec<u64> {
        let mut used = vec![0u64; self.free.len()];
        for (entry, layers) in spans(counts) {
            let device = &mut used[self.first_entry[entry]];
            *device = device.saturating_add(self.needed(&layers));
        }
        used
    }
}

/// Returns the entries with layers, and their layers.
pub(super) fn spans(counts: &[usize]) -> Vec<(usize, Range<usize>)> {
    let mut end = 0;
    let spans = counts.iter().enumerate().map(|(entry, count)| {
        let start = end;
        end += count;
        (entry, start..end)
    });
    spans.filter(|(_, layers)| !layers.is_empty()).collect()
}
