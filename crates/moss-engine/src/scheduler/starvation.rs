//! Simulates queue, admission, steps and preemption without a model: no request waits forever while
//! others arrive, and none is lost.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use TokenKind::{Generated, Prompt};
use moss_model::{CacheShape, TokenKind};
use proptest::prelude::*;

use super::*;
use crate::{
    cache::{SequenceBlocks, SharedCache},
    prefix_cache::Scope,
    queue::FairQueue,
};

const BLOCK: usize = 4;
const OWNERS: usize = 3;
/// The most waiting requests.
const QUEUE: usize = 12;
const LONGEST_PROMPT: usize = 16;
const LONGEST_REPLY: usize = 28;
/// Steps during which requests arrive.
const STEPS: usize = 3000;
/// The most steps of a request that is never preempted: prompts progress in every second step.
const ALONE: usize = 2 * LONGEST_PROMPT + LONGEST_REPLY;

/// A request that arrives, `gap` steps after the one before it.
#[derive(Debug, Clone)]
struct Arrival {
    gap: usize,
    owner: usize,
    prompt: usize,
    /// The first tokens of prompts are common to all requests with the same number.
    family: u32,
    reply: usize,
    /// Steps until the client cancels it.
    patience: Option<usize>,
}

fn arrival() -> impl Strategy<Value = Arrival> {
    (
        0usize..6,
        0..OWNERS,
        1..=LONGEST_PROMPT,
        0u32..3,
        0..=LONGEST_REPLY,
        prop::option::weighted(0.1, 0usize..60),
    )
        .prop_map(|(gap, owner, prompt, family, reply, patience)| Arrival {
            gap,
            owner,
            prompt,
            family,
            reply,
            patience,
        })
}

struct Limits {
    blocks: usize,
    max_sequences: usize,
    max_per_owner: Option<usize>,
    is_deterministic: bool,
    has_pin: bool,
}

/// A request, waiting or running.
struct Work {
    number: usize,
    owner: Arc<str>,
    /// Its place among the admitted ones, from its first admission on.
    admission: Option<usize>,
    ids: Vec<u32>,
    prompt: usize,
    /// Tokens of prompt and reply.
    end: usize,
    blocks: SequenceBlocks,
    /// The step at which it is cancelled.
    cancelled: usize,
    /// The step before which it must have ended.
    deadline: usize,
}

impl Work {
    fn kind(&self) -> TokenKind {
        if self.blocks.positions() < self.prompt {
            Prompt
        } else {
            Generated
        }
    }

    /// Returns the number of pending tokens of the next kind.
    fn pending(&self) -> usize {
        let end = match self.kind() {
            Prompt => self.prompt,
            Generated => self.ids.len(),
        };
        end - self.blocks.positions()
    }
}

struct Simulation {
    limits: Limits,
    cache: SharedCache,
    queue: FairQueue<Work>,
    running: Vec<Work>,
    now: usize,
    arrived: usize,
    admitted: usize,
    ended: HashMap<usize, usize>,
}

impl Simulation {
    fn new(limits: Limits) -> Self {
        let shape = CacheShape {
            block_size: BLOCK,
            num_blocks: limits.blocks,
        };
        let mut cache = SharedCache::new(shape, true, limits.is_deterministic);
        if limits.has_pin {
            cache.pin(vec![0; BLOCK]);
        }
        Self {
            cache,
            queue: FairQueue::new(limits.max_per_owner),
            running: Vec::new(),
            now: 0,
            arrived: 0,
            admitted: 0,
            ended: HashMap::new(),
            limits,
        }
    }

    /// Submits a request, unless the queue is full.
    fn submit(&mut self, arrival: &Arrival) {
        if self.queue.len() >= QUEUE {
            return;
        }
        let number = self.arrived;
        self.arrived += 1;
        let owner: Arc<str> = Arc::from(arrival.owner.to_string());
        let own = number as u32 % 7; // two requests may be equal
        let id = |position: usize| match position {
            0..10 => arrival.family,
            _ => own,
        };
        let scope = Scope::Only {
            owner: owner.clone(),
            cache_key: None,
        };
        // Each turn of its owner lets every other owner admit one request, and the oldest running
        // request is never preempted.
        let before = self.queue.len() + self.running.len() + 1;
        let work = Work {
            number,
            owner: owner.clone(),
            admission: None,
            ids: (0..arrival.prompt).map(id).collect(),
            prompt: arrival.prompt,
            end: arrival.prompt + arrival.reply,
            blocks: SequenceBlocks::new(scope),
            cancelled: self.now + arrival.patience.unwrap_or(usize::MAX / 2),
            deadline: self.now + before * OWNERS * ALONE,
        };
        self.queue.push(&owner, work);
    }

    /// Runs a step with at most `budget` prompt tokens.
    fn step(&mut self, budget: usize) {
        self.cancel();
        self.admit();
        let mut chunks = plan(&self.pending(), budget);
        self.allocate(&mut chunks);
        let mut done = Vec::new();
        for chunk in &chunks {
            let work = &mut self.running[chunk.sequence];
            let kind = work.kind();
            self.cache
                .advance(&mut work.blocks, &work.ids, chunk.tokens, kind);
            if work.ids.len() == work.blocks.positions() {
                if work.ids.len() == work.end {
                    done.push(chunk.sequence);
                } else {
                    work.ids.push(work.number as u32 % 5);
                }
            }
        }
        for index in done.into_iter().rev() {
            self.retire(index);
        }
        self.now += 1;
        let late = |work: &Work| assert!(self.now <= work.deadline, "{} starves", work.number);
        self.running.iter().for_each(late);
        let waiting = self.queue.extract(|work| self.now > work.deadline);
        waiting.iter().for_each(late);
    }

    fn cancel(&mut self) {
        for index in (0..self.running.len()).rev() {
            if self.running[index].cancelled <= self.now {
                self.retire(index);
            }
        }
        for work in self.queue.extract(|work| work.cancelled <= self.now) {
            self.end(work.number);
        }
    }

    fn admit(&mut self) {
        while let Some(next) = self.queue.peek() {
            let demand = self.cache.demand(next.blocks.scope(), &next.ids);
            let of = |work: &Work| self.cache.outstanding(&work.blocks, &work.ids);
            let outstanding = self.running.iter().map(of).sum();
            let (running, most) = (self.running.len(), self.limits.max_sequences);
            if !admits(demand, outstanding, self.limits.blocks, running, most) {
                break;
            }
            let mut work = self.queue.pop().expect("it was peeked");
            let admission = *work.admission.get_or_insert(self.admitted);
            self.admitted += usize::from(admission == self.admitted);
            self.reuse(&mut work);
            let index = self
                .running
                .partition_point(|other| other.admission < work.admission);
            self.running.insert(index, work);
        }
        let is_idle = self.running.is_empty();
        assert!(!is_idle || self.queue.is_empty(), "nothing runs");
    }

    fn reuse(&mut self, work: &mut Work) {
        let is_replayed = work.blocks.is_replayed();
        if work.kind() == Prompt || is_replayed {
            let end = if is_replayed {
                work.ids.len()
            } else {
                work.prompt
            };
            self.cache.reuse(&mut work.blocks, &work.ids[..end]);
        }
    }

    fn pending(&mut self) -> Vec<Pending> {
        let mut running = std::mem::take(&mut self.running);
        running.iter_mut().for_each(|work| self.reuse(work));
        self.running = running;
        let (mut computed, mut pending) = (HashSet::new(), Vec::new());
        for work in &self.running {
            let prompt = &work.ids[..work.prompt];
            let next = self.cache.next_block(&work.blocks, prompt);
            let waits = next.is_some_and(|block| !computed.insert(block));
            pending.push(match (work.kind(), work.pending()) {
                _ if waits => Pending::Waiting,
                (Generated, 1) => Pending::Reply(1),
                (_, tokens) => Pending::Prompt(tokens),
            });
        }
        pending
    }

    fn allocate(&mut self, chunks: &mut Vec<ScheduledChunk>) {
        let mut next = 0;
        while let Some(chunk) = chunks.get(next) {
            let work = &mut self.running[chunk.sequence];
            if self.cache.grow(&mut work.blocks, chunk.tokens).is_ok() {
                next += 1;
                continue;
            }
            let newest = self.running.len() - 1;
            assert!(newest > 0, "a request has no room even alone");
            let mut work = self.running.remove(newest);
            work.blocks = self.cache.preempt(work.blocks, &work.ids);
            let owner = work.owner.clone();
            self.queue.push_preempted(&owner, work);
            chunks.retain(|chunk| chunk.sequence != newest);
        }
    }

    fn retire(&mut self, index: usize) {
        let work = self.running.remove(index);
        self.queue.end(&work.owner);
        self.cache.retire(work.blocks, &work.ids);
        self.end(work.number);
    }

    fn end(&mut self, number: usize) {
        let before = self.ended.insert(number, self.now);
        assert_eq!(before, None, "{number} ended twice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// The arrivals repeat for [`STEPS`] steps, more of them than can be served.
    #[test]
    fn every_request_ends_while_others_arrive(
        arrivals in prop::collection::vec(arrival(), 1..40),
        budgets in prop::collection::vec(1usize..16, 1..8),
        blocks in (LONGEST_PROMPT + LONGEST_REPLY) / BLOCK..24,
        max_sequences in 1usize..8,
        max_per_owner in prop::option::of(1usize..4),
        is_deterministic in any::<bool>(),
        has_pin in any::<bool>(),
    ) {
        let limits = Limits { blocks, max_sequences, max_per_owner, is_deterministic, has_pin };
        let mut simulation = Simulation::new(limits);
        let mut arrivals = arrivals.iter().cycle();
        let (mut next, mut gap) = (arrivals.next().unwrap(), 0);
        while simulation.now < STEPS || !(simulation.running.is_empty() && simulation.queue.is_empty()) {
            while simulation.now < STEPS && gap >= next.gap && simulation.queue.len() < QUEUE {
                simulation.submit(next);
                (next, gap) = (arrivals.next().unwrap(), 0);
            }
            gap += 1;
            // Now and then, replies are measured alone.
            let budget = if simulation.now % 3 == 1 { 0 } else { budgets[simulation.now % budgets.len()] };
            simulation.step(budget);
        }
        prop_assert_eq!(simulation.ended.len(), simulation.arrived);
        prop_assert_eq!(simulation.cache.used_blocks(), 0);
    }
}
