//! A cache whose blocks have contents: every table must lead to the ids of its sequence.

use std::sync::Arc;

use TokenKind::{Generated, Prompt};
use proptest::prelude::*;

use super::*;
use crate::prefix_cache::MOST_PARTIAL;

const BLOCK: usize = 4;

fn scope(owner: &str) -> Scope {
    Scope::Only {
        owner: Arc::from(owner),
        cache_key: None,
    }
}

/// The id in each slot, and the kind with which it was computed.
type Slots = Vec<Option<(u32, TokenKind)>>;

struct Fixture {
    cache: SharedCache,
    slots: Slots,
}

struct Running {
    ids: Vec<u32>,
    prompt: usize,
    blocks: SequenceBlocks,
}

impl Running {
    /// Returns the number of pending tokens of the next kind.
    fn next(&self) -> usize {
        let positions = self.blocks.positions();
        let end = if positions < self.prompt {
            self.prompt
        } else {
            self.ids.len()
        };
        end - positions
    }
}

impl Fixture {
    fn new(num_blocks: usize) -> Self {
        Self::with(num_blocks, false)
    }

    fn with(num_blocks: usize, is_deterministic: bool) -> Self {
        let shape = CacheShape {
            block_size: BLOCK,
            num_blocks,
        };
        Self {
            cache: SharedCache::new(shape, true, is_deterministic),
            slots: vec![None; shape.positions()],
        }
    }

    fn start(&mut self, owner: &str, prompt: &[u32]) -> Running {
        let mut blocks = SequenceBlocks::new(scope(owner));
        self.cache.reuse(&mut blocks, prompt);
        Running {
            ids: prompt.to_vec(),
            prompt: prompt.len(),
            blocks,
        }
    }

    /// Computes `tokens`, and returns false if the cache is full.
    fn compute(&mut self, running: &mut Running, tokens: usize) -> bool {
        let first = running.blocks.positions();
        let kind = if first < running.prompt {
            Prompt
        } else {
            Generated
        };
        if self.cache.grow(&mut running.blocks, tokens).is_err() {
            return false;
        }
        for position in first..first + tokens {
            let block = running.blocks.table().blocks()[position / BLOCK] as usize;
            self.slots[block * BLOCK + position % BLOCK] = Some((running.ids[position], kind));
        }
        let blocks = &mut running.blocks;
        self.cache.advance(blocks, &running.ids, tokens, kind);
        true
    }

    /// Computes the pending tokens of the prompt, and then `reply`.
    fn run(&mut self, running: &mut Running, reply: &[u32]) {
        let tokens = running.prompt - running.blocks.positions();
        assert!(self.compute(running, tokens));
        for id in reply {
            running.ids.push(*id);
            assert!(self.compute(running, 1));
        }
    }

    /// Releases the blocks of a sequence, and lets it start again.
    fn preempt(&mut self, running: &mut Running) {
        let blocks = std::mem::replace(&mut running.blocks, SequenceBlocks::new(scope("none")));
        running.blocks = self.cache.preempt(blocks, &running.ids);
    }

    /// Computes all pending tokens again.
    fn replay(&mut self, running: &mut Running) {
        self.cache.reuse(&mut running.blocks, &running.ids);
        loop {
            let positions = running.blocks.positions();
            let tokens = running.next();
            if tokens == 0 {
                return;
            }
            assert!(self.compute(running, tokens) && running.blocks.positions() > positions);
        }
    }

    fn retire(&mut self, running: Running) {
        self.cache.retire(running.blocks, &running.ids);
    }

    /// Runs a whole request, and returns the number of reused positions.
    fn ask(&mut self, owner: &str, prompt: &[u32], reply: &[u32]) -> usize {
        let mut running = self.start(owner, prompt);
        let reused = running.blocks.positions();
        self.run(&mut running, reply);
        self.retire(running);
        reused
    }

    /// Returns the number of positions that a request would reuse.
    fn reusable(&mut self, owner: &str, prompt: &[u32]) -> usize {
        let running = self.start(owner, prompt);
        let reused = running.blocks.positions();
        self.retire(running);
        reused
    }

    /// Returns the ids and kinds that a table leads to.
    fn read(&self, blocks: &SequenceBlocks) -> Vec<(u32, TokenKind)> {
        let slot = |position: usize| {
            let block = blocks.table().blocks()[position / BLOCK] as usize;
            self.slots[block * BLOCK + position % BLOCK].unwrap()
        };
        (0..blocks.positions()).map(slot).collect()
    }
}

fn ids(count: u32) -> Vec<u32> {
    (0..count).collect()
}

#[test]
fn full_blocks_are_shared_while_their_sequence_runs() {
    let mut fixture = Fixture::new(16);
    let mut first = fixture.start("a", &ids(10));
    fixture.run(&mut first, &[]);
    let second = fixture.start("a", &ids(12));
    assert_eq!(second.blocks.positions(), 8);
    assert_eq!(
        first.blocks.table().blocks()[..2],
        second.blocks.table().blocks()[..]
    );
    assert_eq!(fixture.cache.used_blocks(), 3);
    fixture.retire(first);
    assert_eq!(fixture.cache.used_blocks(), 2);
    fixture.retire(second);
    assert_eq!(fixture.cache.used_blocks(), 0);
}

#[test]
fn the_last_token_of_a_prompt_is_never_reused() {
    let mut fixture = Fixture::new(16);
    fixture.ask("a", &ids(8), &[]);
    assert_eq!(fixture.ask("a", &ids(8), &[]), 4);
    assert_eq!(fixture.ask("a", &ids(9), &[]), 8);
    assert_eq!(fixture.ask("a", &ids(1), &[]), 0);
}

#[test]
fn the_partial_block_of_an_ended_sequence_has_one_heir() {
    let mut fixture = Fixture::new(16);
    fixture.ask("a", &ids(5), &[50, 51]);
    let turn = [&ids(5)[..], &[50, 51, 60, 61, 62]].concat();
    let mut heir = fixture.start("a", &turn);
    assert_eq!(heir.blocks.positions(), 7);
    assert_eq!(fixture.start("a", &turn).blocks.positions(), 4);
    fixture.run(&mut heir, &[70]);
    let kinds = [(0, Prompt), (5, Generated), (7, Prompt), (10, Generated)];
    let mut expected = KindChanges::default();
    for (start, kind) in kinds {
        expected.push(start, kind);
    }
    assert_eq!(heir.blocks.kinds, expected);
}

#[test]
fn a_partial_block_is_cut_only_if_most_of_it_is_reused() {
    let mut fixture = Fixture::new(16);
    fixture.ask("a", &[1, 2, 3], &[]);
    assert_eq!(fixture.start("a", &[1, 8, 9]).blocks.positions(), 0);
    assert_eq!(fixture.start("a", &[1, 2, 9]).blocks.positions(), 2);
    assert_eq!(fixture.start("a", &[1, 2, 3, 4]).blocks.positions(), 0);
}

#[test]
fn the_number_of_partial_blocks_after_a_prefix_is_bounded() {
    let mut fixture = Fixture::new(200);
    let prompts: [[u32; 3]; 100] = std::array::from_fn(|first| [first as u32, 7, 8]);
    for prompt in &prompts {
        fixture.ask("a", prompt, &[]);
    }
    assert_eq!(fixture.cache.pool.free_blocks(), 200 - MOST_PARTIAL);
    let found = prompts.map(|prompt| fixture.reusable("a", &prompt));
    assert!(found[..68].iter().all(|found| *found == 0));
    assert_eq!(found[68..], [2; MOST_PARTIAL]);
}

#[test]
fn scopes_share_nothing_but_pinned_prefixes() {
    let mut fixture = Fixture::new(32);
    fixture.cache.pin(ids(9)); // the ninth id is not a full block
    fixture.ask("a", &ids(20), &[]);
    assert_eq!(fixture.ask("b", &ids(20), &[]), 8);
    assert_eq!(fixture.ask("b", &ids(20), &[]), 16);
    let keyed = Scope::Only {
        owner: Arc::from("a"),
        cache_key: Some(Arc::from("key")),
    };
    let mut blocks = SequenceBlocks::new(keyed);
    assert_eq!(fixture.cache.reuse(&mut blocks, &ids(20)), 8);
}

#[test]
fn the_least_recently_used_leaf_is_evicted_and_pinned_ones_last() {
    let mut fixture = Fixture::new(6);
    fixture.cache.pin(vec![9; 4]);
    for owner in ["a", "b", "c"] {
        fixture.ask(owner, &[9; 4], &[]);
        fixture.ask(owner, &ids(4), &[]);
    }
    fixture.ask("a", &ids(5), &[]); // now `b` is the least recently used
    assert_eq!(
        (
            fixture.cache.used_blocks(),
            fixture.cache.pool.free_blocks()
        ),
        (0, 1)
    );
    let mut other = fixture.start("d", &[7; 8]);
    fixture.run(&mut other, &[]);
    fixture.retire(other);
    let found = ["a", "b", "c"].map(|owner| fixture.reusable(owner, &ids(5)));
    assert_eq!(found, [4, 0, 4]);
    let mut rest = fixture.start("d", &[6; 25]);
    assert!(fixture.compute(&mut rest, 20));
    assert_eq!(fixture.reusable("e", &[9; 5]), 4);
    assert!(fixture.compute(&mut rest, 4));
    assert_eq!(fixture.reusable("e", &[9; 5]), 0, "even pinned ones");
    let error = fixture.cache.grow(&mut rest.blocks, 1).unwrap_err();
    let full = ModelError::CacheFull {
        needed_blocks: 1,
        free_blocks: 0,
    };
    assert_eq!(format!("{error:?}"), format!("{full:?}"));
}

#[test]
fn deterministic_requests_reuse_only_what_was_computed_as_prompt() {
    let reply = [50, 51, 52, 53, 54, 55, 56, 57, 58];
    let turn = [&ids(6)[..], &reply, &[60]].concat();
    for (is_deterministic, reused) in [(false, 15), (true, 6)] {
        let mut fixture = Fixture::with(16, is_deterministic);
        fixture.ask("a", &ids(6), &reply);
        // The second block has two tokens of the prompt, and is not reused in part: it is full.
        let reused = if is_deterministic { 4 } else { reused };
        assert_eq!(fixture.ask("a", &turn, &[]), reused, "{is_deterministic}");
        // Blocks of prompts replace those of replies.
        let again = fixture.start("a", &[&turn[..], &[1]].concat());
        assert_eq!(again.blocks.kinds.is_prompt(8), is_deterministic);
    }
}

#[test]
fn equal_blocks_of_two_sequences_become_one() {
    let mut fixture = Fixture::new(16);
    let mut two = [fixture.start("a", &ids(6)), fixture.start("a", &ids(6))];
    for running in &mut two {
        fixture.run(running, &[]);
    }
    assert_eq!(fixture.cache.used_blocks(), 3);
    let blocks = two
        .each_ref()
        .map(|running| running.blocks.table().blocks()[0]);
    assert_eq!(blocks[0], blocks[1]);
}

#[test]
fn a_prompt_continues_after_the_blocks_that_another_one_has_computed() {
    let mut fixture = Fixture::new(16);
    let mut two = ["a", "a"].map(|owner| fixture.start(owner, &ids(14)));
    fixture.compute(&mut two[1], 2); // is discarded: the other sequence has the whole block
    fixture.compute(&mut two[0], 9);
    let keys = two
        .each_ref()
        .map(|running| fixture.cache.next_block(&running.blocks, &running.ids));
    assert_ne!(keys[0], keys[1]);
    let prompt = two[1].ids.clone();
    assert_eq!(fixture.cache.reuse(&mut two[1].blocks, &prompt), 6);
    let keys = two
        .each_ref()
        .map(|running| fixture.cache.next_block(&running.blocks, &running.ids));
    assert!(keys[0].is_some() && keys[0] == keys[1]);
    assert_eq!(fixture.cache.used_blocks(), 3);
}

#[test]
fn a_preempted_sequence_finds_its_blocks_until_they_are_evicted() {
    let mut fixture = Fixture::new(8);
    let mut running = fixture.start("a", &ids(6));
    fixture.run(&mut running, &[50, 51, 52, 53]);
    running.ids.push(54); // sampled, and not computed yet
    let before = fixture.read(&running.blocks);
    fixture.preempt(&mut running);
    assert_eq!(
        (running.blocks.positions(), fixture.cache.used_blocks()),
        (0, 0)
    );
    fixture.cache.reuse(&mut running.blocks, &running.ids);
    assert_eq!(running.blocks.positions(), 10);
    fixture.preempt(&mut running);
    let mut other = fixture.start("b", &[7; 32]);
    fixture.run(&mut other, &[]);
    fixture.retire(other);
    fixture.replay(&mut running);
    assert_eq!(fixture.read(&running.blocks)[..10], before);
    assert!(!running.blocks.is_replayed());
}

#[test]
fn a_preempted_sequence_uses_only_blocks_with_the_kinds_of_its_own() {
    let mut fixture = Fixture::new(16);
    let mut running = fixture.start("a", &ids(4));
    fixture.run(&mut running, &[50, 51, 52, 53, 54]);
    fixture.preempt(&mut running);
    // The same ids as a prompt replace the blocks of the reply.
    let prompt = running.ids.clone();
    let mut other = fixture.start("c", &prompt);
    other.blocks.scope = scope("a");
    fixture.run(&mut other, &[]);
    fixture.cache.reuse(&mut running.blocks, &running.ids);
    assert_eq!(running.blocks.positions(), 4);
    // The last token is still that of the reply.
    let turn = fixture.start("a", &[&prompt[..], &[1]].concat());
    assert_eq!(turn.blocks.positions(), 9);
    assert!(turn.blocks.kinds.is_prompt(8) && !turn.blocks.kinds.is_prompt(9));
}

#[test]
fn shared_blocks_are_not_part_of_a_demand() {
    let mut fixture = Fixture::new(16);
    let demand = |fixture: &Fixture, count| fixture.cache.demand(&scope("a"), &ids(count));
    let (needed, available) = (3, 16);
    assert_eq!(demand(&fixture, 10), Demand { needed, available });
    let mut running = fixture.start("a", &ids(10));
    assert_eq!(fixture.cache.outstanding(&running.blocks, &running.ids), 3);
    fixture.run(&mut running, &[]);
    assert_eq!(fixture.cache.outstanding(&running.blocks, &running.ids), 0);
    let (needed, available) = (1, 13);
    assert_eq!(demand(&fixture, 12), Demand { needed, available });
    fixture.retire(running);
    // Two of the idle blocks would be shared.
    let available = 14;
    assert_eq!(demand(&fixture, 12), Demand { needed, available });
}

#[test]
fn a_model_without_shared_blocks_reuses_nothing() {
    let shape = CacheShape {
        block_size: BLOCK,
        num_blocks: 8,
    };
    let mut fixture = Fixture {
        cache: SharedCache::new(shape, false, false),
        slots: vec![None; shape.positions()],
    };
    for _ in 0..3 {
        assert_eq!(fixture.ask("a", &ids(9), &[1]), 0);
    }
    assert_eq!(fixture.cache.pool.free_blocks(), 8);
}

/// One step: what, which sequence, which prompt or how many tokens.
type Step = (u8, usize, usize);

/// Checks that every block has the users that the tables and the trie say, and that every table
/// leads to the ids of its sequence.
fn check(fixture: &Fixture, running: &[Running]) {
    let pool = &fixture.cache.pool;
    let mut tables = vec![0; pool.shape().num_blocks];
    for sequence in running {
        for block in sequence.blocks.table().blocks() {
            tables[*block as usize] += 1;
        }
        let read = fixture.read(&sequence.blocks);
        let read_ids: Vec<u32> = read.iter().map(|(id, _)| *id).collect();
        assert_eq!(read_ids, sequence.ids[..read.len()]);
        let mut kinds = KindChanges::default();
        for (position, (_, kind)) in read.iter().enumerate() {
            kinds.push(position, *kind);
        }
        assert!(
            kinds.agrees(&sequence.blocks.kinds, read.len()),
            "{kinds:?}"
        );
        if fixture.cache.is_deterministic {
            let mut own = KindChanges::default();
            own.push(sequence.prompt, Generated);
            assert!(kinds.agrees(&own, read.len()), "{kinds:?}");
        }
    }
    let counted: Vec<usize> = (0..tables.len() as u32)
        .map(|block| pool.tables(block))
        .collect();
    assert_eq!(counted, tables);
    let used = tables.iter().filter(|tables| **tables > 0).count();
    assert_eq!(used, fixture.cache.used_blocks());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any mix of starting, computing, generating, preempting and ending: no block is lost, shared wrongly or
    /// freed twice, and all idle blocks can be evicted.
    #[test]
    fn every_table_leads_to_the_ids_of_its_sequence(
        steps in prop::collection::vec((0u8..8, 0usize..8, 0usize..40), 1..120),
        is_deterministic in any::<bool>(),
        pins in any::<bool>(),
    ) {
        let mut fixture = Fixture::with(12, is_deterministic);
        let mut running: Vec<Running> = Vec::new();
        if pins {
            fixture.cache.pin(vec![0; 8]);
        }
        for step in steps {
            act(&mut fixture, &mut running, step);
            check(&fixture, &running);
        }
        for sequence in running.drain(..) {
            fixture.retire(sequence);
        }
        check(&fixture, &[]);
        let mut all = SequenceBlocks::new(scope("all"));
        prop_assert!(fixture.cache.grow(&mut all, 12 * BLOCK).is_ok());
    }
}

fn act(fixture: &mut Fixture, running: &mut Vec<Running>, (what, which, number): Step) {
    let at = which.checked_rem(running.len()).unwrap_or(0);
    match (what, running.get_mut(at)) {
        // Prompts of few different ids, so that prefixes are common.
        (0 | 1, _) => {
            let mut prompt = vec![0; which + 1];
            prompt.extend((0..number % 9).map(|index| (number >> (index % 4)) as u32 & 1));
            running.push(fixture.start(["a", "b"][number % 2], &prompt));
        }
        (2, Some(sequence)) => {
            let ids = if sequence.blocks.is_replayed() {
                &sequence.ids[..]
            } else {
                &sequence.ids[..sequence.prompt]
            };
            if sequence.blocks.positions() < ids.len() {
                fixture.cache.reuse(&mut sequence.blocks, ids);
            }
        }
        (3 | 4, Some(sequence)) => {
            let pending = sequence.next();
            if pending > 0 {
                fixture.compute(sequence, pending.min(1 + number));
            } else {
                sequence.ids.push(number as u32 & 1);
                if !fixture.compute(sequence, 1) {
                    sequence.ids.pop();
                }
            }
        }
        (5, Some(sequence)) => fixture.preempt(sequence),
        (_, Some(_)) => fixture.retire(running.remove(at)),
        (_, None) => {}
    }
}
