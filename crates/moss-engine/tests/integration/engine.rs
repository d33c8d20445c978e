//! Requests from their submission to their outcome, with a model without weights.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use moss_engine::{Engine, EngineError, EngineOptions, Event, Request, StopCause, Vocabulary};
use moss_sampling::SamplingParams;
use moss_testing::model::ScriptedModel;

use crate::support::{StartEngine, expected, greedy, mix, options, scripted, slow, tokenizer};

#[test]
fn a_request_that_only_fills_the_cache_needs_no_logits() {
    let rows = Arc::new(AtomicUsize::new(0));
    let counted = rows.clone();
    let next = move |history: &[u32]| {
        counted.fetch_add(1, SeqCst);
        mix(history)
    };
    let engine = ScriptedModel::new(97, 512, next).start(options(), None);
    let outcome = engine.submit(greedy(&[3; 40], 0)).unwrap().wait().unwrap();
    assert_eq!(outcome.cause, StopCause::MaxNewTokens);
    assert_eq!((outcome.ids.len(), rows.load(SeqCst)), (0, 0));
    let next = engine.submit(greedy(&[3; 40], 1)).unwrap().wait().unwrap();
    assert_eq!(next.ids, expected(&[3; 40], 1));
    assert_eq!(next.usage.reused_tokens, 39);
}

#[test]
fn a_follow_up_is_accepted_by_a_full_queue() {
    let full = EngineOptions {
        queue_limit: 1,
        max_sequences: 1,
        ..options()
    };
    let engine = ScriptedModel::new(97, 512, mix)
        .before(slow)
        .start(full, None);
    let first = engine.submit(greedy(&[1, 2], 50)).unwrap();
    while engine.metrics().running == 0 {
        std::thread::yield_now();
    }
    let second = engine.submit(greedy(&[1, 3], 2)).unwrap();
    assert!(engine.submit(greedy(&[1, 4], 2)).is_err());
    let follow_up = Request {
        is_follow_up: true,
        ..greedy(&[1, 4], 2)
    };
    let third = engine.submit(follow_up).unwrap();
    first.cancel();
    assert_eq!(second.wait().unwrap().ids, expected(&[1, 3], 2));
    assert_eq!(third.wait().unwrap().ids, expected(&[1, 4], 2));
    assert_eq!(engine.metrics().requests, 2);
}

#[test]
fn an_answer_is_what_the_model_generates_token_by_token() {
    let engine = ScriptedModel::new(97, 256, mix).start(options(), None);
    let prompt = [3, 1, 4, 1, 5];
    let events: Vec<_> = engine.submit(greedy(&prompt, 20)).unwrap().collect();
    assert!(matches!(
        events[0],
        Event::Started {
            prompt_tokens: 5,
            reused_tokens: 0
        }
    ));
    assert!(matches!(events[1], Event::Prefill { done: 5, total: 5 }));
    let Some(Event::Finished(outcome)) = events.last() else {
        panic!("{events:?}")
    };
    assert_eq!(outcome.ids, expected(&prompt, 20));
    assert_eq!(outcome.cause, StopCause::MaxNewTokens);
    assert_eq!(
        (
            outcome.usage.prefilled_tokens,
            outcome.usage.generated_tokens
        ),
        (5, 20)
    );
}

#[test]
fn long_prompts_run_in_chunks_and_report_them() {
    let engine = ScriptedModel::new(97, 256, mix).start(options(), None);
    let prompt: Vec<u32> = (0..50).collect();
    let events: Vec<_> = engine.submit(greedy(&prompt, 1)).unwrap().collect();
    let done: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Prefill { done, .. } => Some(*done),
            _ => None,
        })
        .collect();
    assert_eq!(done, [8, 16, 24, 32, 40, 48, 50]);
}

#[test]
fn many_requests_at_once_get_what_each_would_get_alone() {
    let engine = ScriptedModel::new(97, 1024, mix).start(options(), None);
    let prompts: Vec<Vec<u32>> = (0..20u32)
        .map(|n| (0..=n * 2).map(|i| (i * n) % 97).collect())
        .collect();
    let runs: Vec<_> = prompts
        .iter()
        .map(|prompt| engine.submit(greedy(prompt, 30)).unwrap())
        .collect();
    for (run, prompt) in runs.into_iter().zip(&prompts) {
        assert_eq!(run.wait().unwrap().ids, expected(prompt, 30));
    }
    assert_eq!(engine.metrics().requests, 20);
    assert_eq!(engine.metrics().generated_tokens, 600);
}

#[test]
fn a_full_window_ends_the_answer() {
    let engine = ScriptedModel::new(97, 64, mix).start(options(), None);
    let outcome = engine
        .submit(Request::new(vec![1; 60], SamplingParams::greedy()))
        .unwrap()
        .wait()
        .unwrap();
    assert_eq!(
        (outcome.cause, outcome.ids.len()),
        (StopCause::WindowFull, 4)
    );
    let error = engine.submit(greedy(&[1; 64], 1)).unwrap_err();
    assert!(matches!(
        error,
        EngineError::PromptTooLong {
            found: 64,
            context_length: 64
        }
    ));
    assert!(matches!(
        engine.submit(greedy(&[], 1)).unwrap_err(),
        EngineError::EmptyPrompt
    ));
}

#[test]
fn the_error_for_a_long_prompt_has_the_words_that_client_libraries_look_for() {
    let error = EngineError::PromptTooLong {
        found: 3000,
        context_length: 2048,
    }
    .to_string();
    // LangChain, and litellm in lower case. litellm does not read `code`; neither does LangChain
    // with openai 3.
    assert!(error.contains("prompt is too long"), "{error}");
    assert!(
        error.contains("this model's maximum context length is 2048 tokens"),
        "{error}"
    );
}

#[test]
fn a_stop_token_is_the_last_id_and_no_text() {
    let tokenizer = tokenizer();
    let special = tokenizer.special().unwrap();
    let engine = ScriptedModel::new(1536, 256, scripted(3, " 你好！😀<eom>more"))
        .start(options(), Some(tokenizer));
    let mut request = greedy(&[1, 2, 3], 50);
    request.stop.stop_ids = vec![special.eom];
    let run = engine.submit(request).unwrap();
    let mut streamed = String::new();
    let mut last = None;
    for event in run {
        match event {
            Event::Text { piece, .. } => streamed.push_str(&piece),
            event => last = Some(event),
        }
    }
    let Some(Event::Finished(outcome)) = last else {
        panic!("{last:?}")
    };
    assert_eq!(outcome.cause, StopCause::EndOfTurn);
    assert_eq!(outcome.text, " 你好！😀");
    assert_eq!(streamed, outcome.text, "the stream is the text");
    assert_eq!(outcome.ids.last(), Some(&special.eom));
}

#[test]
fn a_stop_string_ends_the_text_before_it() {
    let engine = ScriptedModel::new(1536, 256, scripted(1, "one, two<|Human|>: three"))
        .start(options(), Some(tokenizer()));
    let mut request = greedy(&[1], 50);
    request.stop.stop_strings = vec!["<|Human|>".into()];
    let outcome = engine.submit(request).unwrap().wait().unwrap();
    assert_eq!(outcome.cause, StopCause::StopString("<|Human|>".into()));
    assert_eq!(outcome.text, "one, two");
}

#[test]
fn the_queue_is_bounded() {
    let small = EngineOptions {
        queue_limit: 2,
        max_sequences: 1,
        ..options()
    };
    let engine = ScriptedModel::new(97, 256, mix)
        .before(slow)
        .start(small, None);
    let mut runs = Vec::new();
    let refused = loop {
        match engine.submit(greedy(&[1], 50)) {
            Ok(run) => runs.push(run),
            Err(error) => break error,
        }
        assert!(runs.len() < 10);
    };
    assert!(matches!(refused, EngineError::QueueFull { limit: 2 }));
    for run in runs {
        assert_eq!(run.wait().unwrap().ids, expected(&[1], 50));
    }
}

#[test]
fn more_sequences_than_a_decode_step_has_are_refused() {
    let start = |max_sequences| {
        let options = EngineOptions {
            max_sequences,
            ..options()
        };
        let model = ScriptedModel::new(97, 64, mix);
        Engine::start(Box::new(model), None, options).map(drop)
    };
    assert!(start(256).is_ok());
    assert!(matches!(
        start(257),
        Err(EngineError::TooManySequences {
            found: 257,
            most: 256
        })
    ));
}

#[test]
fn rows_beyond_the_tokenizer_are_drawn_only_when_asked_for() {
    let next = |_: &[u32]| 1530;
    let engine = ScriptedModel::new(1536, 64, next).start(options(), Some(tokenizer()));
    let real = engine.submit(greedy(&[1], 3)).unwrap().wait().unwrap();
    assert!(real.ids.iter().all(|id| *id < 1506));
    let request = Request {
        vocabulary: Vocabulary::EveryRow,
        ..greedy(&[1], 3)
    };
    let every = engine.submit(request).unwrap().wait().unwrap();
    assert_eq!((every.ids, every.text), (vec![1530; 3], String::new()));
}

#[test]
fn timings_and_counts_add_up() {
    let engine = ScriptedModel::new(97, 256, mix)
        .before(slow)
        .start(options(), None);
    let outcome = engine.submit(greedy(&[1; 20], 10)).unwrap().wait().unwrap();
    let (usage, timings) = (outcome.usage, outcome.timings);
    // Three chunks of prompt, then nine passes, two milliseconds each at least.
    assert!(
        timings.prefill.as_millis() >= 6 && timings.decode.as_millis() >= 18,
        "{timings:?}"
    );
    assert_eq!(timings.first_token, timings.queued + timings.prefill);
    assert!(timings.prefill_rate(&usage) < 3400.0 && timings.decode_rate(&usage) < 510.0);
    let metrics = engine.metrics();
    assert_eq!(
        (
            metrics.requests,
            metrics.prefilled_tokens,
            metrics.generated_tokens
        ),
        (1, 20, 10)
    );
    let [queued, first, later] = [
        metrics.queue_time,
        metrics.first_token_time,
        metrics.inter_token_time,
    ];
    assert_eq!((queued.count(), first.count(), later.count()), (1, 1, 9));
    assert!(first.sum_s() >= 0.006 && later.sum_s() >= 0.018);
    assert!(later.sum_s() <= timings.decode.as_secs_f64() + 0.001);
}

#[test]
fn the_same_seed_gives_the_same_answer_and_a_run_has_its_seed() {
    let engine = ScriptedModel::new(97, 256, mix).start(options(), None);
    let ask = |seed| {
        let flat = SamplingParams {
            temperature: 50.0,
            top_k: None,
            top_p: 1.0,
            seed,
            ..SamplingParams::CHAT
        };
        let mut request = Request::new(vec![1], flat);
        request.stop.max_new_tokens = Some(30);
        let run = engine.submit(request).unwrap();
        (run.seed(), run.wait().unwrap().ids)
    };
    let (seed, ids) = ask(None);
    assert_eq!(ask(Some(seed)), (seed, ids.clone()));
    assert_ne!(ask(Some(seed ^ 1)).1, ids);
}

#[test]
fn an_engine_stops_with_its_queue_full() {
    let engine = ScriptedModel::new(97, 256, mix)
        .before(slow)
        .start(options(), None);
    let runs: Vec<_> = (0..20)
        .map(|_| engine.submit(greedy(&[1], 200)).unwrap())
        .collect();
    drop(engine);
    for run in runs {
        assert_eq!(run.wait().unwrap().cause, StopCause::Cancelled);
    }
}

#[test]
fn the_likelihood_of_tokens_comes_with_them_when_asked_for() {
    let mut model = ScriptedModel::new(97, 256, mix);
    model.samples = true; // log probabilities need all logits
    let engine = model.start(options(), None);
    let request = Request {
        logprobs: Some(2),
        ..greedy(&[1, 2], 3)
    };
    let events: Vec<_> = engine.submit(request).unwrap().collect();
    let tokens = events.iter().filter_map(|event| match event {
        Event::Text {
            id: Some(id),
            logprobs,
            ..
        } => Some((*id, logprobs.clone().unwrap())),
        _ => None,
    });
    let tokens: Vec<_> = tokens.collect();
    // One logit of 10 and 96 of 0.
    let best = 10.0 - (10f32.exp() + 96.0).ln();
    assert_eq!(tokens.len(), 3);
    for (id, logprobs) in tokens {
        assert!(
            (logprobs.logprob - best).abs() < 1e-5
                && logprobs.top[0].0 == id
                && logprobs.top.len() == 2
        );
    }
    let plain: Vec<_> = engine.submit(greedy(&[1], 1)).unwrap().collect();
    assert!(plain.iter().all(|event| !matches!(
        event,
        Event::Text {
            logprobs: Some(_),
            ..
        }
    )));
}

#[test]
fn events_go_to_a_sink_and_one_that_is_gone_cancels_its_request() {
    let engine = ScriptedModel::new(97, 256, mix)
        .before(slow)
        .start(options(), None);
    let (seen, events) = std::sync::mpsc::channel();
    let sink = Box::new(move |event| seen.send(event).is_ok());
    engine
        .submit_to(greedy(&[1], 5), Default::default(), sink)
        .unwrap();
    let last = events.iter().last();
    assert!(matches!(last, Some(Event::Finished(outcome)) if outcome.ids == expected(&[1], 5)));
    engine
        .submit_to(greedy(&[1], 200), Default::default(), Box::new(|_| false))
        .unwrap();
    engine.submit(greedy(&[2], 3)).unwrap().wait().unwrap();
    assert!(engine.metrics().generated_tokens < 20);
}
