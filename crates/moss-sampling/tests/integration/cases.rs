//! The tokens that transformers keeps, case by case.

use moss_sampling::{Sampler, SamplingParams};
use moss_testing::{fixture, ids, read_json};
use safetensors::SafeTensors;
use serde_json::Value;

/// transformers adds in f32 too, in another order.
const TOLERANCE: f32 = 1e-5;

#[test]
fn every_sampling_case_keeps_the_same_set() {
    let cases = read_json(fixture("sampling_cases.json"));
    let cases = cases.as_array().unwrap();
    assert!(cases.len() >= 70, "{} cases", cases.len());
    for case in cases {
        check(
            case,
            numbers(&case["logits"]).collect(),
            &ids(&case["history"]),
            &case["name"].to_string(),
        );
    }
}

/// Uses the stored logits. The cases of later tokens need a model (`moss-cli verify`).
#[test]
fn the_first_token_after_every_fixture_prompt_has_the_same_kept_set() {
    let mut checked = 0;
    for folder in std::fs::read_dir(fixture(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        let Ok(bytes) = std::fs::read(folder.join("expected.safetensors")) else {
            continue;
        };
        let (rows, expected) = (
            SafeTensors::deserialize(&bytes).unwrap(),
            read_json(folder.join("expected.json")),
        );
        for case in expected["sampling"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|case| case["generated"] == 0)
        {
            let prompt = &expected["prompts"][case["prompt"].as_u64().unwrap() as usize];
            let history = ids(&prompt["ids"]);
            let Some(row) = ids(&prompt["logit_rows"])
                .iter()
                .position(|row| *row as usize + 1 == history.len())
            else {
                continue;
            };
            let all = rows
                .tensor(&format!("prompt.{}.logits", case["prompt"]))
                .unwrap();
            let row_bytes = all.shape()[1] * size_of::<f32>();
            let logits = all.data()[row * row_bytes..][..row_bytes].as_chunks().0;
            let logits = logits
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect();
            check(
                case,
                logits,
                &history,
                &format!("{} {case}", folder.display()),
            );
            checked += 1;
        }
    }
    assert!(checked >= 100, "{checked} cases");
}

fn check(case: &Value, mut logits: Vec<f32>, history: &[u32], name: &str) {
    let number = |key: &str| case[key].as_f64().unwrap() as f32;
    let params = SamplingParams {
        temperature: number("temperature"),
        top_k: Some(number("top_k") as usize),
        top_p: number("top_p"),
        repetition_penalty: number("repetition_penalty"),
        ..SamplingParams::CHAT
    };
    let mut sampler = Sampler::new(params).unwrap();
    let found = sampler.kept(&mut logits, history, 0, usize::MAX).unwrap();
    let expected = case["kept"].as_array().unwrap();
    assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
    for pair in expected {
        let pair: Vec<f32> = numbers(pair).collect();
        let (_, probability) = *found.iter().find(|(id, _)| *id == pair[0] as u32).unwrap();
        assert!(
            (probability - pair[1]).abs() <= TOLERANCE,
            "{name}: {probability} for {pair:?}"
        );
    }
}

fn numbers(value: &Value) -> impl Iterator<Item = f32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap() as f32)
}
