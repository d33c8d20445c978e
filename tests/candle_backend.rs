//! The candle reference through the builder: the same answers as transformers, cancellation, and
//! what it does not have.

use moss::{Backend, BuildError, Builder, ChatOptions, Event, Request, SamplingParams, StopCause};
use serde_json::Value;

fn repository(path: &str) -> String {
    format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"))
}

fn candle(model: &str) -> Builder {
    Builder::new(repository(&format!("examples/demo/{model}"))).backend(Backend::Candle)
}

#[test]
fn concurrent_sequences_have_the_greedy_paths_of_transformers() {
    let goldens = std::fs::read(repository("tests/fixtures/demo/golden.json")).unwrap();
    let goldens: Value = serde_json::from_slice(&goldens).unwrap();
    let ids = |value: &Value| -> Vec<u32> { serde_json::from_value(value.clone()).unwrap() };
    for model in ["moss-demo", "moss-demo-int4"] {
        let engine = candle(model).engine().unwrap();
        let mut runs = Vec::new();
        for case in goldens["cases"].as_array().unwrap() {
            let expected = case["expected"].as_array().unwrap();
            let expected = expected.iter().filter(|expected| {
                expected["model"] == model && expected["repetition_penalty"] == 1.0
            });
            for expected in expected {
                let path = ids(&expected["ids"]);
                let mut request = Request::new(ids(&case["prompt_ids"]), SamplingParams::greedy());
                request.stop.max_new_tokens = Some(path.len());
                runs.push((engine.submit(request).unwrap(), path));
            }
        }
        assert!(runs.len() >= 20, "{model}: {}", runs.len());
        for (run, path) in runs {
            assert_eq!(run.wait().unwrap().ids, path, "{model}");
        }
    }
}

#[test]
fn a_cancelled_chat_goes_on_with_the_next_question() {
    let options = ChatOptions {
        sampling: SamplingParams::greedy(),
        ..ChatOptions::default()
    };
    let mut chat = candle("moss-demo-int4")
        .chat_options(options)
        .chat()
        .unwrap();
    let mut run = chat.ask("推荐五部科幻电影").unwrap();
    run.find(|event| matches!(event, Event::Text { .. }));
    run.cancel();
    let last = run.last().unwrap();
    let Event::Finished(outcome) = last else {
        panic!("{last:?}")
    };
    assert_eq!(outcome.cause, StopCause::Cancelled);
    let Some(Event::Finished(outcome)) = chat.ask("What is 3 + 4?").unwrap().last() else {
        panic!("no answer")
    };
    assert_eq!(outcome.text, " 3 + 4 = 7.");
}

#[test]
fn only_the_native_backend_is_a_moss() {
    let error = candle("moss-demo-int4").model().unwrap_err();
    assert!(matches!(error, BuildError::NotNative) && error.hint().is_some());
    let model = candle("moss-demo-int4").find().unwrap().language_model(64);
    assert_eq!(model.unwrap().cache_shape().positions(), 64);
}
