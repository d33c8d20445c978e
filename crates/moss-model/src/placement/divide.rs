//! The division itself: dynamic programming over cards and layers.
//!
//! A partial division of the first layers over the first cards is worth keeping unless another one
//! of the same layers is at least as good and has used no more of any device that is still to come.
//! Where no device comes again after others, few survive and the result is exact; where devices
//! take turns and layers are of many sizes, no more than [`MOST_LABELS`] are kept, and it may be
//! not quite the best.

use std::ops::Range;

use super::{Card, CardKind, LeftOut, Note, Placement, PlacementError, Request, Shortfall, Stage};

/// Partial divisions of the same layers over the same cards that are kept at most.
const MOST_LABELS: usize = 64;

/// Devices that are listed at most: more than any host has, and few enough to be searched at once.
const MOST_CARDS: usize = 128;

/// Layers of each card, and what is wrong with that.
pub(super) struct Division {
    pub(super) counts: Vec<usize>,
    /// Empty where it fits.
    pub(super) shortfalls: Vec<Shortfall>,
}

/// Finds what no division could satisfy.
pub(super) fn check(request: &Request<'_>) -> Result<(), PlacementError> {
    let (cards, layers) = (request.cards, request.model.layers.len());
    if cards.is_empty() {
        return Err(PlacementError::NoCards);
    }
    if cards.len() > MOST_CARDS {
        return Err(PlacementError::TooManyCards {
            found: cards.len(),
            expected: MOST_CARDS,
        });
    }
    if layers == 0 {
        return Err(PlacementError::NoLayers);
    }
    if let Some(card) = cards
        .iter()
        .find(|card| !(card.bandwidth > 0.0 && card.bandwidth.is_finite()))
    {
        return Err(PlacementError::Bandwidth {
            card: card.name.clone(),
            found: card.bandwidth,
        });
    }
    let Some(counts) = request.layers_per_card else {
        return Ok(());
    };
    if counts.len() != cards.len() {
        return Err(PlacementError::Counts {
            found: counts.len(),
            expected: cards.len(),
        });
    }
    if let Some(card) = counts.iter().position(|count| *count == 0) {
        return Err(PlacementError::Empty { card });
    }
    match counts
        .iter()
        .fold(0usize, |sum, count| sum.saturating_add(*count))
    {
        sum if sum == layers => Ok(()),
        found => Err(PlacementError::Sum {
            found,
            expected: layers,
        }),
    }
}

/// The division that was asked for, or the best one: within memory if any is, else the one that
/// lacks fewest bytes.
pub(super) fn divide(request: &Request<'_>) -> Division {
    let problem = Problem::new(request);
    let counts = match request.layers_per_card {
        Some(counts) => counts.to_vec(),
        None => {
            let (fast, cost) = problem.search(Goal::Fast);
            let slowest = problem.slowest(&fast);
            // Where not all could be kept, the second search may have lost what the first one
            // found.
            match problem.search(Goal::Even { slowest }) {
                (even, [over, on_cpu, _]) if [over, on_cpu] == cost[..2] => even,
                _ => fast,
            }
        }
    };
    Division {
        shortfalls: problem.shortfalls(&counts),
        counts,
    }
}

impl Division {
    pub(super) fn placement(self, request: &Request<'_>) -> Placement {
        let problem = Problem::new(request);
        let mut used = problem.used(&self.counts);
        let spans = spans(&self.counts);
        let first = spans
            .iter()
            .find(|(_, layers)| layers.start == 0)
            .map(|(card, _)| *card);
        let embedding = first.map_or(0, |card| {
            let device = problem.device[card];
            let left = problem.free[device].saturating_sub(used[device]);
            if request.model.embedding <= left {
                request.model.embedding
            } else {
                0
            }
        });
        if let Some(card) = first {
            let used = &mut used[problem.device[card]];
            *used = used.saturating_add(embedding);
        }
        let model = request.model;
        let stage = |(card, layers): &(usize, Range<usize>)| {
            let device = problem.device[*card];
            let (has_embedding, has_head) = (layers.start == 0, layers.end == model.layers.len());
            Stage {
                card: *card,
                has_embedding,
                has_head,
                weights: problem.weights(layers),
                embedding: if has_embedding { embedding } else { 0 },
                cache: model.cache_per_layer().saturating_mul(layers.len() as u64),
                workspace: model.workspace,
                free_after: problem.free[device].saturating_sub(used[device]),
                layers: layers.clone(),
            }
        };
        let stages: Vec<Stage> = spans.iter().map(stage).collect();
        let notes = problem.notes(&self.counts, &stages);
        Placement { stages, notes }
    }
}

/// Cards with layers, and which.
fn spans(counts: &[usize]) -> Vec<(usize, Range<usize>)> {
    let mut end = 0;
    let span = |(card, count): (usize, &usize)| {
        let start = end;
        end += count;
        (card, start..end)
    };
    counts
        .iter()
        .enumerate()
        .map(span)
        .filter(|(_, layers)| !layers.is_empty())
        .collect()
}

/// What makes one division better than another, once it lacks no memory and leaves as little as
/// possible to the CPU.
#[derive(Clone, Copy)]
enum Goal {
    /// The slowest stage is fast.
    Fast,
    /// No stage is slower than this many nanoseconds; the sum of the squares of their times is
    /// small.
    Even { slowest: u64 },
}

/// A partial division: what it costs, and how it came about.
#[derive(Clone)]
struct Label {
    /// Bytes that devices lack; bytes read by the CPU where there are GPUs; what the goal counts.
    cost: [u128; 3],
    /// Bytes in use of each device that is listed several times and comes again.
    used: Vec<u64>,
    /// End of the layers in front of the last card, and the label there.
    from: (usize, usize),
}

impl Label {
    /// Bytes in use of the devices that come again.
    fn memory(&self) -> u128 {
        self.used.iter().map(|bytes| u128::from(*bytes)).sum()
    }

    fn is_as_good_as(&self, other: &Self) -> bool {
        self.cost <= other.cost
            && self
                .used
                .iter()
                .zip(&other.used)
                .all(|(mine, theirs)| mine <= theirs)
    }
}

/// The request, in the form that the search asks for it.
struct Problem<'a> {
    request: &'a Request<'a>,
    /// Bytes of weights in front of each layer, and of all.
    before: Vec<u64>,
    /// Device of each card.
    device: Vec<usize>,
    /// Bytes of each device.
    free: Vec<u64>,
    /// Of each device, the last card that is on it.
    last_card: Vec<usize>,
    /// Place in [`Label::used`] of each device that is listed several times.
    slot: Vec<Option<usize>>,
    /// There are GPUs, for which the CPU stands in.
    has_gpu: bool,
}

impl<'a> Problem<'a> {
    fn new(request: &'a Request<'a>) -> Self {
        let mut kinds: Vec<CardKind> = Vec::new();
        let (mut device, mut free, mut last_card, mut listed) = (vec![], vec![], vec![], vec![]);
        for (index, card) in request.cards.iter().enumerate() {
            let known = kinds
                .iter()
                .position(|kind| *kind == card.kind)
                .unwrap_or_else(|| {
                    kinds.push(card.kind);
                    free.push(card.free);
                    last_card.push(index);
                    listed.push(0);
                    kinds.len() - 1
                });
            device.push(known);
            free[known] = card.free.min(free[known]);
            last_card[known] = index;
            listed[known] += 1;
        }
        let mut slots = 0..;
        let slot = listed
            .iter()
            .map(|times| if *times > 1 { slots.next() } else { None })
            .collect();
        let mut before = vec![0u64];
        let mut sum = 0u64;
        before.extend(request.model.layers.iter().map(|bytes| {
            sum = sum.saturating_add(*bytes);
            sum
        }));
        let has_gpu = kinds.iter().any(|kind| *kind != CardKind::Cpu);
        Self {
            request,
            before,
            device,
            free,
            last_card,
            slot,
            has_gpu,
        }
    }

    fn weights(&self, layers: &Range<usize>) -> u64 {
        let head = if layers.end == self.request.model.layers.len() {
            self.request.model.head
        } else {
            0
        };
        (self.before[layers.end] - self.before[layers.start]).saturating_add(head)
    }

    /// Bytes that a token reads, with a full cache.
    fn read(&self, layers: &Range<usize>) -> u64 {
        let cache = self
            .request
            .model
            .cache_per_layer()
            .saturating_mul(layers.len() as u64);
        self.weights(layers).saturating_add(cache)
    }

    /// Bytes of a stage, the embedding in host memory.
    fn needed(&self, layers: &Range<usize>) -> u64 {
        self.read(layers)
            .saturating_add(self.request.model.workspace)
    }

    fn nanoseconds(&self, card: usize, layers: &Range<usize>) -> u64 {
        (self.read(layers) as f64 / self.request.cards[card].bandwidth * 1e9).round() as u64
    }

    fn is_cpu(&self, card: usize) -> bool {
        self.request.cards[card].kind == CardKind::Cpu
    }

    /// Layers of each card in the best division, and its cost; one beyond all others where there is
    /// none.
    fn search(&self, goal: Goal) -> (Vec<usize>, [u128; 3]) {
        let (cards, layers) = (self.request.cards.len(), self.request.model.layers.len());
        let slots = self.slot.iter().flatten().count();
        let nothing = Label {
            cost: [0; 3],
            used: vec![0; slots],
            from: (0, 0),
        };
        // steps[card][end]: divisions of the first `end` layers over the cards in front of `card`.
        let mut steps = vec![vec![Vec::new(); layers + 1]];
        steps[0][0].push(nothing);
        for card in 0..cards {
            let step = (0..=layers)
                .map(|end| self.labels(&steps[card], card, end, goal))
                .collect();
            steps.push(step);
        }
        let mut counts = vec![0; cards];
        let best = steps[cards][layers]
            .iter()
            .enumerate()
            .min_by_key(|(_, label)| label.cost);
        let Some((mut index, Label { cost, .. })) = best else {
            return (counts, [u128::MAX; 3]);
        };
        let mut end = layers;
        for card in (0..cards).rev() {
            let Some(label) = steps[card + 1][end].get(index) else {
                break;
            };
            let (start, before) = label.from;
            counts[card] = end - start;
            (end, index) = (start, before);
        }
        (counts, *cost)
    }

    /// Divisions of the first `end` layers worth keeping after `card`. Of equals, the one with the
    /// shortest last stage.
    fn labels(&self, step: &[Vec<Label>], card: usize, end: usize, goal: Goal) -> Vec<Label> {
        let mut kept: Vec<Label> = Vec::new();
        for start in (0..=end).rev() {
            for (index, label) in step[start].iter().enumerate() {
                let Some(mut next) = self.extend(label, card, start..end, goal) else {
                    continue;
                };
                next.from = (start, index);
                if !kept.iter().any(|label| label.is_as_good_as(&next)) {
                    kept.retain(|label| !next.is_as_good_as(label));
                    kept.push(next);
                }
                if kept.len() > MOST_LABELS {
                    // Half of them for what they cost, half for the memory that they leave.
                    kept.sort_by_key(|label| label.cost);
                    kept[MOST_LABELS / 2..].sort_by_key(|label| (label.cost[0], label.memory()));
                    kept.truncate(MOST_LABELS);
                }
            }
        }
        kept
    }

    fn extend(
        &self,
        label: &Label,
        card: usize,
        layers: Range<usize>,
        goal: Goal,
    ) -> Option<Label> {
        let mut next = label.clone();
        let device = self.device[card];
        let slot = self.slot[device];
        if !layers.is_empty() {
            let time = self.nanoseconds(card, &layers);
            match goal {
                Goal::Fast => next.cost[2] = next.cost[2].max(u128::from(time)),
                Goal::Even { slowest } if time > slowest => return None,
                Goal::Even { .. } => {
                    next.cost[2] = next.cost[2].saturating_add(u128::from(time) * u128::from(time));
                }
            }
            let used = slot.map_or(0, |slot| label.used[slot]);
            let more = used.saturating_add(self.needed(&layers));
            let over = |used: u64| used.saturating_sub(self.free[device]);
            next.cost[0] = next.cost[0].saturating_add(u128::from(over(more) - over(used)));
            if self.has_gpu && self.is_cpu(card) {
                next.cost[1] = next.cost[1].saturating_add(u128::from(self.read(&layers)));
            }
            if let Some(slot) = slot {
                next.used[slot] = more;
            }
        }
        if let Some(slot) = slot.filter(|_| self.last_card[device] == card) {
            next.used[slot] = 0; // no stage to come can feel it
        }
        Some(next)
    }

    fn slowest(&self, counts: &[usize]) -> u64 {
        spans(counts)
            .iter()
            .map(|(card, layers)| self.nanoseconds(*card, layers))
            .max()
            .unwrap_or(0)
    }

    /// Bytes in use of each device, the embedding in host memory.
    fn used(&self, counts: &[usize]) -> Vec<u64> {
        let mut used = vec![0u64; self.free.len()];
        for (card, layers) in spans(counts) {
            let device = &mut used[self.device[card]];
            *device = device.saturating_add(self.needed(&layers));
        }
        used
    }

    fn shortfalls(&self, counts: &[usize]) -> Vec<Shortfall> {
        let of_device = |(device, needed): (usize, u64)| {
            let cards = || (0..counts.len()).filter(|card| self.device[*card] == device);
            let card = cards().next()?;
            let free = self.free[device];
            (needed > free).then(|| Shortfall {
                card,
                name: self.request.cards[card].name.clone(),
                layers: cards().map(|card| counts[card]).sum(),
                needed,
                free,
                missing: needed - free,
            })
        };
        self.used(counts)
            .into_iter()
            .enumerate()
            .filter_map(of_device)
            .collect()
    }

    fn notes(&self, counts: &[usize], stages: &[Stage]) -> Vec<Note> {
        let left_out = counts.iter().enumerate().filter(|(_, count)| **count == 0);
        let mut notes: Vec<Note> = left_out
            .map(|(card, _)| Note::LeftOut {
                card,
                why: self.why_left_out(card),
            })
            .collect();
        let on_gpu = |stage: &&Stage| !self.is_cpu(stage.card);
        if self.request.model.embedding > 0
            && stages
                .first()
                .filter(on_gpu)
                .is_some_and(|stage| stage.embedding == 0)
        {
            notes.push(Note::EmbeddingOnHost);
        }
        let seconds = |stage: &Stage| stage.token_seconds(&self.request.cards[stage.card], 1.0);
        let on_cpu = || stages.iter().filter(|stage| self.is_cpu(stage.card));
        if self.has_gpu && on_cpu().next().is_some() {
            notes.push(Note::OnCpu {
                layers: on_cpu().map(|stage| stage.layers.len()).sum(),
                seconds: on_cpu().map(seconds).sum(),
                of_seconds: stages.iter().map(seconds).sum(),
            });
        }
        notes
    }

    fn why_left_out(&self, card: usize) -> LeftOut {
        let Request { model, cards, .. } = self.request;
        let least = (0..model.layers.len())
            .map(|layer| self.needed(&(layer..layer + 1)))
            .min();
        let Card { free, .. } = cards[card];
        match least {
            _ if self.has_gpu && self.is_cpu(card) => LeftOut::NotNeeded,
            Some(least) if least > free => LeftOut::TooSmall,
            _ if cards.len() > model.layers.len() => LeftOut::NoLayersLeft,
            _ => LeftOut::NoFaster,
        }
    }
}
