//! The KV cache between turns: prefix reuse and eviction.

use moss_engine::{EngineOptions, Event, Request, StopCause};
use moss_testing::model::ScriptedModel;

use crate::support::{StartEngine, expected, greedy, mix, options, slow};

#[test]
fn a_session_runs_only_what_is_new() {
    let engine = ScriptedModel::new(97, 256, mix).start(options(), None);
    let session = engine.session();
    let ask = |prompt: &[u32], max| {
        let request = Request {
            session: Some(session.id()),
            ..greedy(prompt, max)
        };
        engine.submit(request).unwrap().wait().unwrap()
    };
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
    // With another ending, the common prefix is reused.
    let edited: Vec<u32> = first.iter().copied().chain([9, 9]).collect();
    let outcome = ask(&edited, 5);
    assert_eq!(outcome.ids, expected(&edited, 5));
    assert_eq!(outcome.usage.reused_tokens, 40);
    // The same prompt again: all but its last token.
    assert_eq!(ask(&edited, 5).usage.reused_tokens, 41);
    drop(session);
    let _ = engine.submit(greedy(&[1], 1)).unwrap().wait();
    let _ = engine.submit(greedy(&[1], 1)).unwrap().wait();
    assert_eq!(
        engine.metrics().cache_blocks_used,
        0,
        "a dropped session gives its blocks back"
    );
}

#[test]
fn idle_sessions_give_way_the_longest_idle_first() {
    // The cache has 128 positions.
    let engine = ScriptedModel::new(97, 128, mix).start(options(), None);
    let prompt: Vec<u32> = (0..40).collect();
    let sessions: Vec<_> = (0..3).map(|_| engine.session()).collect();
    let ask = |session: usize| {
        let request = Request {
            session: Some(sessions[session].id()),
            ..greedy(&prompt, 5)
        };
        engine.submit(request).unwrap().wait().unwrap()
    };
    for session in 0..3 {
        assert_eq!(ask(session).ids, expected(&prompt, 5));
    }
    assert_eq!(ask(2).usage.reused_tokens, 39);
    assert_eq!(ask(0).usage.reused_tokens, 0, "the first one had to go");
}

#[test]
fn no_new_tokens_means_the_whole_prompt_and_nothing_else() {
    let engine = ScriptedModel::new(97, 256, mix).start(options(), None);
    let session = engine.session();
    let prompt: Vec<u32> = (0..50).collect();
    let warm = Request {
        session: Some(session.id()),
        ..greedy(&prompt, 0)
    };
    let outcome = engine.submit(warm).unwrap().wait().unwrap();
    assert_eq!(
        (outcome.cause, outcome.ids.len()),
        (StopCause::MaxNewTokens, 0)
    );
    assert_eq!(outcome.usage.prefilled_tokens, 50);
    let next = Request {
        session: Some(session.id()),
        ..greedy(&prompt, 5)
    };
    let outcome = engine.submit(next).unwrap().wait().unwrap();
    assert_eq!(
        (outcome.usage.reused_tokens, outcome.usage.prefilled_tokens),
        (49, 1)
    );
    assert_eq!(outcome.ids, expected(&prompt, 5));
}

#[test]
fn a_session_that_ends_while_its_request_waits_or_runs_leaves_nothing_behind() {
    let one = EngineOptions {
        max_sequences: 1,
        ..options()
    };
    let engine = ScriptedModel::new(97, 256, mix)
        .before(slow)
        .start(one, None);
    let sessions = [engine.session(), engine.session()];
    let ids = sessions.each_ref().map(|session| session.id());
    let mut runs = ids.map(|id| {
        engine
            .submit(Request {
                session: Some(id),
                ..greedy(&[1; 20], 20)
            })
            .unwrap()
    });
    runs[0]
        .find(|event| matches!(event, Event::Text { .. }))
        .unwrap();
    drop(sessions);
    for run in runs {
        assert_eq!(run.wait().unwrap().ids, expected(&[1; 20], 20));
    }
    // The metrics are updated after each step, so the second request waits for the update of the
    // first.
    for _ in 0..2 {
        engine.submit(greedy(&[1], 1)).unwrap().wait().unwrap();
    }
    assert_eq!(engine.metrics().cache_blocks_used, 0);
}

#[test]
fn two_requests_of_one_session_at_once_are_both_right() {
    let engine = ScriptedModel::new(97, 1024, mix).start(options(), None);
    let session = engine.session();
    for round in 0..5u32 {
        let prompts = [[1, 2, round], [1, 3, round]];
        let runs = prompts.map(|prompt| {
            engine
                .submit(Request {
                    session: Some(session.id()),
                    ..greedy(&prompt, 20)
                })
                .unwrap()
        });
        for (run, prompt) in runs.into_iter().zip(prompts) {
            assert_eq!(run.wait().unwrap().ids, expected(&prompt, 20));
        }
    }
}
