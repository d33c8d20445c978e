//! The demo models answer exactly as transformers' CodeGenForCausalLM.generate does, in both
//! layouts, through the whole stack.

use moss::{
    Builder, Engine, Request, SamplingParams, StopRules, cpu::Activations, model::ComputeDtype,
    text::Specials,
};
use moss_testing::{fixture, ids, read_json};
use serde_json::Value;

fn goldens() -> Value {
    read_json(fixture("demo/golden.json"))
}

fn demo(model: &str) -> Builder {
    Builder::folder(moss_testing::demo(model))
}

fn check(model: &str, engine: Engine) {
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
    check("moss-demo", demo("moss-demo").engine().unwrap());
}

#[test]
fn the_int4_demo_answers_token_for_token_as_transformers() {
    check("moss-demo-int4", demo("moss-demo-int4").engine().unwrap());
}

#[test]
fn the_int4_demo_keeps_its_answers_with_8_bit_activations() {
    let rounded = demo("moss-demo-int4")
        .dtype(ComputeDtype::F16)
        .activations(Activations::Int8);
    check("moss-demo-int4", rounded.engine().unwrap());
}

#[test]
fn the_prompt_builder_gives_the_ids_that_the_goldens_were_made_from() {
    let builder = demo("moss-demo-int4").find().unwrap().prompts().unwrap();
    let tokenizer = builder.tokenizer().clone();
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
