//! Properties of any mix of requests, and of any text.

use std::sync::Arc;

use moss_engine::{EngineOptions, Event, Request, StopCause};
use moss_testing::model::ScriptedModel;
use proptest::prelude::*;

use crate::support::{StartEngine, expected, greedy, mix, options, scripted, tokenizer};

/// A request: prompt length, first id of the prompt, tokens, owner, and the number of tokens after
/// which it is cancelled.
type Plan = (usize, u32, usize, usize, Option<usize>);

fn plan() -> impl Strategy<Value = Plan> {
    (
        1usize..60,
        0u32..4,
        0usize..25,
        0usize..3,
        prop::option::weighted(0.3, 0usize..10),
    )
}

fn drive(plans: &[Plan], options: EngineOptions) {
    // The cache is large enough for two or three sequences, so that requests wait for admission and
    // cached prefixes are evicted.
    let engine = ScriptedModel::new(97, 192, mix).start(options, None);
    let prompt = |len: usize, first: u32| {
        (0..len as u32)
            .map(|i| (first + i * i) % 97)
            .collect::<Vec<_>>()
    };
    let submit = |(len, first, max, owner, _): &Plan| {
        engine
            .submit(Request {
                owner: Arc::from(owner.to_string()),
                ..greedy(&prompt(*len, *first), *max)
            })
            .unwrap()
    };
    let runs: Vec<_> = plans.iter().map(submit).collect();
    for (run, (len, first, max, _, cancel_after)) in runs.into_iter().zip(plans) {
        let (cancel, mut tokens, mut last) = (run.cancel_handle(), 0, None);
        for event in run {
            match event {
                Event::Text { .. } => tokens += 1,
                Event::Finished(outcome) => last = Some(outcome),
                Event::Failed(error) => panic!("{error}"),
                _ => {}
            }
            if cancel_after.is_some_and(|after| tokens >= after) {
                cancel.cancel();
            }
        }
        let outcome = last.unwrap();
        assert_eq!(
            outcome.ids,
            expected(&prompt(*len, *first), outcome.ids.len())
        );
        assert_eq!(outcome.usage.generated_tokens, tokens);
        if outcome.cause == StopCause::Cancelled {
            assert!(cancel_after.is_some());
        } else {
            assert_eq!(
                (outcome.cause, outcome.ids.len()),
                (StopCause::MaxNewTokens, *max)
            );
            assert_eq!(
                outcome.usage.reused_tokens + outcome.usage.prefilled_tokens,
                *len
            );
        }
    }
    for _ in 0..2 {
        engine.submit(greedy(&[1], 1)).unwrap().wait().unwrap();
    }
    let metrics = engine.metrics();
    assert_eq!(
        (metrics.waiting, metrics.cache_blocks_used),
        (0, 0),
        "{metrics:?}"
    );
}

/// Texts whose characters take several tokens, with stop strings that they nearly contain.
fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "你好",
        "再",
        "见",
        "👩‍👩‍👧",
        "😀",
        "é",
        "a",
        "停",
        "停止",
        "<|",
        "Hum",
        "an|>",
        "\n",
        " ",
    ]);
    prop::collection::vec(piece, 1..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_mix_of_requests_gets_what_each_would_get_alone(
        plans in prop::collection::vec(plan(), 1..12),
        max_sequences in 1usize..5,
        prefill_chunk in 1usize..40,
    ) {
        drive(&plans, EngineOptions { max_sequences, prefill_chunk: Some(prefill_chunk), ..options() });
    }

    #[test]
    fn the_stream_is_the_text_up_to_the_first_stop_string(text in text()) {
        let tokenizer = tokenizer();
        let count = tokenizer.encode(&text).unwrap().len();
        let stops = ["<|Human|>", "停止", "见😀"];
        let engine = ScriptedModel::new(1536, 256, scripted(1, &text)).start(options(), Some(tokenizer));
        let mut request = greedy(&[1], count);
        request.stop.stop_strings = stops.map(str::to_owned).to_vec();
        let mut streamed = String::new();
        let mut last = None;
        for event in engine.submit(request).unwrap() {
            match event {
                Event::Text { piece, .. } => {
                    prop_assert!(!piece.contains('\u{fffd}'), "half a character: {piece:?}");
                    streamed.push_str(&piece);
                }
                Event::Finished(outcome) => last = Some(outcome),
                _ => {}
            }
        }
        let outcome = last.unwrap();
        let first = stops.iter().filter_map(|stop| Some((text.find(stop)?, *stop))).min();
        prop_assert_eq!(&streamed, &text[..first.map_or(text.len(), |(at, _)| at)]);
        prop_assert_eq!(&streamed, &outcome.text);
        let cause = first.map_or(StopCause::MaxNewTokens, |(_, stop)| StopCause::StopString(stop.to_owned()));
        prop_assert_eq!(outcome.cause, cause);
    }
}
