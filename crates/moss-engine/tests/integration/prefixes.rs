//! The prefix cache: what later and concurrent requests need not compute.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moss_engine::{Engine, EngineOptions, Event, Request, StopCause};
use moss_testing::model::ScriptedModel;

use crate::support::{Pace, StartEngine, expected, greedy, mix, options, slow};

/// Returns a request of `owner`.
fn of(owner: &str, request: Request) -> Request {
    Request {
        owner: Arc::from(owner),
        ..request
    }
}

#[test]
fn a_later_turn_runs_only_what_is_new() {
    let engine = ScriptedModel::new(97, 256, mix).start(options(), None);
    let ask = |prompt: &[u32], max| engine.submit(greedy(prompt, max)).unwrap().wait().unwrap();
    let first: Vec<u32> = (0..40).collect();
    let answer = ask(&first, 10);
    let second: Vec<u32> = first
        .iter()
        .chain(&answer.ids)
        .copied()
        .chain([5, 6, 7])
        .collect();
    let outcome = ask(&second, 10);
    assert_eq!(outcome.ids, expected(&second, 10));
    // The last token of the answer was sampled, and not processed.
    assert_eq!(
        (outcome.usage.reused_tokens, outcome.usage.prefilled_tokens),
        (49, 4)
    );
    // With another ending, the full blocks of the common prefix are reused.
    let edited: Vec<u32> = first.iter().copied().chain([9, 9]).collect();
    let outcome = ask(&edited, 5);
    assert_eq!(outcome.ids, expected(&edited, 5));
    assert_eq!(outcome.usage.reused_tokens, 32);
    // The same prompt again: all but its last token.
    assert_eq!(ask(&edited, 5).usage.reused_tokens, 41);
    assert_eq!(engine.metrics().reused_tokens, 49 + 32 + 41);
    let began = Instant::now();
    while engine.metrics().cache_blocks_used > 0 {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "cached blocks are not in use"
        );
        std::thread::yield_now(); // updated after the last event
    }
}

#[test]
fn the_least_recently_used_blocks_are_evicted() {
    // The cache has 8 blocks, and each request uses 3.
    let engine = ScriptedModel::new(97, 128, mix).start(options(), None);
    let prompt: Vec<u32> = (0..40).collect();
    let ask = |owner| {
        let request = of(owner, greedy(&prompt, 5));
        engine.submit(request).unwrap().wait().unwrap()
    };
    for owner in ["a", "b", "c"] {
        assert_eq!(ask(owner).ids, expected(&prompt, 5));
    }
    assert_eq!(ask("c").usage.reused_tokens, 39);
    let reused = ask("a").usage.reused_tokens;
    assert_eq!(reused, 32, "only the last block was evicted");
}

#[test]
fn no_new_tokens_means_the_whole_prompt_and_nothing_else() {
    let engine = ScriptedModel::new(97, 256, mix).start(options(), None);
    let prompt: Vec<u32> = (0..50).collect();
    let outcome = engine.submit(greedy(&prompt, 0)).unwrap().wait().unwrap();
    assert_eq!(
        (outcome.cause, outcome.ids.len()),
        (StopCause::MaxNewTokens, 0)
    );
    assert_eq!(outcome.usage.prefilled_tokens, 50);
    let outcome = engine.submit(greedy(&prompt, 5)).unwrap().wait().unwrap();
    assert_eq!(
        (outcome.usage.reused_tokens, outcome.usage.prefilled_tokens),
        (49, 1)
    );
    assert_eq!(outcome.ids, expected(&prompt, 5));
}

#[test]
fn owners_and_cache_keys_share_only_pinned_prefixes() {
    let engine = ScriptedModel::new(97, 256, mix).start(options(), None);
    let prompt: Vec<u32> = (0..70).collect();
    let reused = |owner, cache_key: Option<&str>| {
        let request = Request {
            cache_key: cache_key.map(Arc::from),
            ..of(owner, greedy(&prompt, 1))
        };
        engine
            .submit(request)
            .unwrap()
            .wait()
            .unwrap()
            .usage
            .reused_tokens
    };
    assert_eq!(reused("a", None), 0);
    assert_eq!(reused("b", None), 0);
    assert_eq!(reused("a", Some("key")), 0);
    assert_eq!(reused("a", Some("key")), 69);
    engine.pin_prefix(&prompt[..40]);
    assert_eq!(reused("c", None), 0, "the first request computes it");
    assert_eq!(reused("d", Some("key")), 32);
}

#[test]
fn two_requests_that_continue_the_same_prefix_at_once_are_both_right() {
    let engine = ScriptedModel::new(97, 1024, mix).start(options(), None);
    let mut prefix: Vec<u32> = (0..20).collect();
    for round in 0..5u32 {
        let prompts = [2, 3].map(|id| [&prefix[..], &[id, round]].concat());
        let runs = prompts
            .each_ref()
            .map(|prompt| engine.submit(greedy(prompt, 20)).unwrap());
        let mut replies = Vec::new();
        for (run, prompt) in runs.into_iter().zip(&prompts) {
            replies.push(run.wait().unwrap().ids);
            assert_eq!(replies.last(), Some(&expected(prompt, 20)));
        }
        prefix = [&prompts[0][..], &replies[0]].concat();
    }
}

/// Submits `count` requests with a common prefix of 100 tokens, the first of which has begun when
/// the others arrive.
fn submit_common(engine: &Engine, count: u32) {
    let common: Vec<u32> = (0..100).map(|index| index % 90).collect();
    let prompt = |last: u32| [&common[..], &[last; 9]].concat();
    let mut runs = Vec::new();
    for last in 0..count {
        let mut run = engine.submit(greedy(&prompt(last), 6)).unwrap();
        if last == 0 {
            run.find(|event| matches!(event, Event::Prefill { done: 24.., .. }))
                .unwrap();
        }
        runs.push(run);
    }
    for (run, last) in runs.into_iter().zip(0..) {
        let outcome = run.wait().unwrap();
        assert_eq!(outcome.ids, expected(&prompt(last), 6));
        let usage = outcome.usage;
        assert_eq!(usage.reused_tokens + usage.prefilled_tokens, 109);
        assert_eq!(usage.reused_tokens, if last == 0 { 0 } else { 96 });
    }
}

#[test]
fn concurrent_requests_compute_a_common_prefix_once() {
    let many = EngineOptions {
        max_sequences: 16,
        ..options()
    };
    // A third of a block, more than a block, and the whole prompt.
    for prefill_chunk in [5, 24, 200] {
        let options = EngineOptions {
            prefill_chunk: Some(prefill_chunk),
            ..many.clone()
        };
        let pace = Pace::ms(2);
        let engine = ScriptedModel::new(97, 4096, mix)
            .before(pace.wait())
            .start(options, None);
        submit_common(&engine, 9);
        assert_eq!(engine.metrics().prefilled_tokens, 109 + 8 * 13);
    }
}

#[test]
fn a_prompt_whose_prefix_is_no_longer_computed_by_another_one_computes_it() {
    let engine = ScriptedModel::new(97, 1024, mix)
        .before(slow)
        .start(options(), None);
    let prompt = [3; 200];
    let mut first = engine.submit(greedy(&prompt, 3)).unwrap();
    first
        .find(|event| matches!(event, Event::Prefill { done: 24.., .. }))
        .unwrap();
    let second = engine.submit(greedy(&prompt, 3)).unwrap();
    drop(first);
    let outcome = second.wait().unwrap();
    assert_eq!(outcome.ids, expected(&prompt, 3));
    assert!((16..200).contains(&outcome.usage.reused_tokens));
}
