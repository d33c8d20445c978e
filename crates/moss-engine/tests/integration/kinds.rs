//! The kind of each chunk: prompt or generated.

use std::sync::{Arc, Mutex};

use moss_engine::{Engine, EngineOptions, Request};
use moss_model::TokenKind::{self, Generated, Prompt};
use moss_testing::model::{ScriptedModel, SeenChunk};
use proptest::prelude::*;

use crate::support::{StartEngine, greedy, mix, options};

type Seen = Arc<Mutex<Vec<Vec<SeenChunk>>>>;

/// First position, number of tokens, kind.
type Chunk = (usize, usize, TokenKind);

/// Starts an engine with a cache of `positions`, and chunks of 8 prompt tokens.
fn start(positions: usize) -> (Arc<Engine>, Seen) {
    let model = ScriptedModel::new(97, positions, mix);
    let seen = model.seen.clone();
    (model.start(options(), None), seen)
}

/// Runs a request, and returns the reply and the chunks.
fn run(engine: &Engine, seen: &Seen, request: Request) -> (Vec<u32>, Vec<Chunk>) {
    seen.lock().unwrap().clear();
    let outcome = engine.submit(request).unwrap().wait().unwrap();
    let passes = std::mem::take(&mut *seen.lock().unwrap());
    let chunks = passes.iter().flatten();
    let chunks = chunks.map(|chunk| (chunk.start_pos, chunk.token_ids.len(), chunk.kind));
    (outcome.ids, chunks.collect())
}

#[test]
fn a_prompt_is_prompt_in_every_chunk_and_a_sampled_token_is_generated() {
    let (engine, seen) = start(256);
    // Different ids, so that nothing is in the cache.
    let chunks = |prompt: usize| run(&engine, &seen, greedy(&vec![prompt as u32; prompt], 3)).1;
    let steps = |prompt| [(prompt, 1, Generated), (prompt + 1, 1, Generated)];
    let of_prompt: [(usize, &[Chunk]); 5] = [
        (1, &[(0, 1, Prompt)]),
        (5, &[(0, 5, Prompt)]),
        (8, &[(0, 8, Prompt)]),
        (9, &[(0, 8, Prompt), (8, 1, Prompt)]),
        (20, &[(0, 8, Prompt), (8, 8, Prompt), (16, 4, Prompt)]),
    ];
    for (prompt, of_prompt) in of_prompt {
        // The third token is sampled, and not fed back.
        assert_eq!(chunks(prompt), [of_prompt, &steps(prompt)].concat());
    }
}

#[test]
fn the_last_token_of_a_reply_is_part_of_the_next_prompt() {
    let (engine, seen) = start(256);
    let mut ids: Vec<u32> = (0..8).collect();
    let mut turn = |new: &[u32]| {
        ids.extend_from_slice(new);
        let (reply, chunks) = run(&engine, &seen, greedy(&ids, 3));
        ids.extend(reply);
        chunks
    };
    assert_eq!(
        turn(&[]),
        [(0, 8, Prompt), (8, 1, Generated), (9, 1, Generated)]
    );
    // Position 10 is the third token of the reply.
    assert_eq!(
        turn(&[50, 51]),
        [(10, 3, Prompt), (13, 1, Generated), (14, 1, Generated)]
    );
    // The prompt ends with the reply, so this one token is all that is prefilled.
    assert_eq!(
        turn(&[]),
        [(15, 1, Prompt), (16, 1, Generated), (17, 1, Generated)]
    );
}

#[test]
fn an_evicted_conversation_is_computed_again_as_a_prompt() {
    let (engine, seen) = start(64);
    let mut ids: Vec<u32> = (0..5).collect();
    ids.extend(run(&engine, &seen, greedy(&ids, 3)).0);
    run(&engine, &seen, greedy(&[1; 60], 2)); // needs every block
    ids.push(50);
    let (_, chunks) = run(&engine, &seen, greedy(&ids, 3));
    assert_eq!(
        chunks,
        [
            (0, 8, Prompt),
            (8, 1, Prompt),
            (9, 1, Generated),
            (10, 1, Generated)
        ]
    );
}

/// A request: prompt length, and the tokens of its reply.
type Plan = (usize, usize);

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Prompts have ids below 50, replies from 50 on, so every chunk shows what its kind must be.
    #[test]
    fn every_chunk_of_concurrent_requests_has_the_kind_of_its_tokens(
        plans in prop::collection::vec((1usize..40, 1usize..8), 1..8),
        prefill_chunk in 1usize..12,
    ) {
        let model = ScriptedModel::new(97, 256, |history| 50 + mix(history) % 47);
        let seen = model.seen.clone();
        let chunked = EngineOptions { prefill_chunk: Some(prefill_chunk), ..options() };
        let engine = model.start(chunked, None);
        let submit = |(index, (prompt, max)): (usize, &Plan)| {
            // Owners share no cached prefixes.
            let owner = Arc::from(index.to_string());
            engine.submit(Request { owner, ..greedy(&vec![*prompt as u32; *prompt], *max) })
        };
        let runs: Vec<_> = plans.iter().enumerate().map(|plan| submit(plan).unwrap()).collect();
        for run in runs {
            run.wait().unwrap();
        }
        let seen = seen.lock().unwrap();
        let tokens = |kind| {
            let chunks = seen.iter().flatten().filter(move |chunk| chunk.kind == kind);
            chunks.flat_map(|chunk| chunk.token_ids.clone()).collect::<Vec<_>>()
        };
        let (of_prompts, of_replies) = (tokens(Prompt), tokens(Generated));
        prop_assert!(of_prompts.iter().all(|id| *id < 50), "{of_prompts:?}");
        prop_assert!(of_replies.iter().all(|id| *id >= 50), "{of_replies:?}");
        prop_assert_eq!(of_prompts.len(), plans.iter().map(|(prompt, _)| prompt).sum::<usize>());
        prop_assert_eq!(of_replies.len(), plans.iter().map(|(_, max)| max - 1).sum::<usize>());
    }
}
