//! The demo models answer exactly as transformers' CodeGenForCausalLM.generate does, in both
//! layouts, through the whole stack.
#![allow(clippy::unwrap_used)]

use moss::{
    Engine, LoadOptions, OpenOptions, Request, SamplingParams, StopRules, cpu::Activations,
    model::ComputeDtype, open_engine, text::Specials,
};
use serde_json::Value;

fn repository(path: &str) -> String {
    format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"))
}

fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap() as u32)
        .collect()
}

fn goldens() -> Value {
    serde_json::from_slice(&std::fs::read(repository("tests/fixtures/demo/golden.json")).unwrap())
        .unwrap()
}

fn check(model: &str, load: Option<LoadOptions>) {
    let options = OpenOptions {
        load,
        ..OpenOptions::default()
    };
    let engine: Engine =
        open_engine(&repository(&format!("examples/demo/{model}")), options).unwrap();
    let (goldens, mut checked) = (goldens(), 0);
    let mut runs = Vec::new();
    for case in goldens["cases"].as_array().unwrap() {
        for expected in case["expected"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|expected| expected["model"] == model)
        {
            let penalty = expected["repetition_penalty"].as_f64().unwrap() as f32;
            let sampling = SamplingParams {
                repetition_penalty: penalty,
                ..SamplingParams::greedy()
            };
            let stop_ids = vec![goldens["eos"].as_u64().unwrap() as u32];
            let stop = StopRules {
                stop_ids,
                max_new_tokens: Some(400),
                ..StopRules::default()
            };
            let request = Request {
                stop,
                ..Request::new(ids(&case["prompt_ids"]), sampling)
            };
            runs.push((engine.submit(request).unwrap(), expected));
        }
    }
    for (run, expected) in runs {
        let outcome = run.wait().unwrap();
        assert_eq!(outcome.ids, ids(&expected["ids"]), "{}", expected["text"]);
        assert_eq!(outcome.text, expected["text"].as_str().unwrap());
        checked += 1;
    }
    assert!(checked >= 48, "{checked}");
}

#[test]
fn the_fp16_demo_answers_token_for_token_as_transformers() {
    check("moss-demo", None);
}

#[test]
fn the_int4_demo_answers_token_for_token_as_transformers() {
    check("moss-demo-int4", None);
}

#[test]
fn the_int4_demo_keeps_its_answers_with_8_bit_activations() {
    let rounded = LoadOptions {
        dtype: ComputeDtype::F16,
        activations: Activations::Int8,
        ..LoadOptions::cpu(2 * 2048)
    };
    check("moss-demo-int4", Some(rounded));
}

#[test]
fn the_prompt_builder_gives_the_ids_that_the_goldens_were_made_from() {
    let engine = open_engine(
        &repository("examples/demo/moss-demo-int4"),
        Default::default(),
    )
    .unwrap();
    let tokenizer = engine.tokenizer().unwrap().clone();
    let builder =
        moss::PromptBuilder::new(tokenizer.clone(), moss::SystemText::Published, None).unwrap();
    let mut checked = 0;
    for case in goldens()["cases"].as_array().unwrap() {
        let users: Vec<&str> = case["user"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user.as_str().unwrap())
            .collect();
        if case["system"] == "meta" && users.len() == 1 {
            assert_eq!(
                builder.prompt(&[], users[0]).unwrap(),
                ids(&case["prompt_ids"]),
                "{}",
                users[0]
            );
            checked += 1;
        }
        let text: String = case["pieces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|piece| piece.as_str().unwrap())
            .collect();
        assert_eq!(
            tokenizer.decode(&ids(&case["prompt_ids"]), Specials::Show),
            text
        );
    }
    assert!(checked >= 20);
}
