//! `logits`, and `generate --ids`, which need no tokenizer.

use moss_testing::{Goldens, f32_tensors, ids as ids_of, read_json};
use serde_json::Value;

use crate::support::{fixture, ok, run, text};

#[test]
fn logits_of_an_unknown_id_are_an_error_before_the_model_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder
        .path()
        .join("logits.safetensors")
        .display()
        .to_string();
    let refused = |model: &[&str], ids: &str, id: &str| {
        let out = run(
            &[&["logits", "--ids", ids, "--out", &file], model].concat(),
            "",
        );
        let error = text(&out.stderr);
        assert!(
            out.status.code() == Some(1) && error.contains(&format!("token id {id} ")),
            "{error}"
        );
        assert!(!std::path::Path::new(&file).exists());
    };
    // 2744 tokens, 2752 rows.
    refused(&["--demo"], "5,2744", "2744");
    refused(&["--demo"], "5,2752", "2752");
    refused(&["--model", &fixture("mini-int8")], "320", "320");
}

/// Returns the shape of the tensor `logits` of a file.
fn shape(file: &[u8]) -> Vec<usize> {
    let tensors = safetensors::SafeTensors::deserialize(file).unwrap();
    tensors.tensor("logits").unwrap().shape().to_vec()
}

#[test]
fn logits_are_written_as_safetensors() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder
        .path()
        .join("logits.safetensors")
        .display()
        .to_string();
    for (extra, rows) in [(&[][..], 3), (&["--last"][..], 1)] {
        let model = fixture("mini-int8");
        let mut args = vec![
            "logits", "--model", &model, "--ids", "5,6,7", "--out", &file, "--force",
        ];
        args.extend(extra);
        ok(&args, "");
        assert_eq!(shape(&std::fs::read(&file).unwrap()), [rows, 320]);
    }
}

#[test]
fn generate_by_ids_walks_the_greedy_paths_without_tokenizer_files() {
    let expected = read_json(fixture("mini-int4-act-order/expected.json"));
    for path in expected["greedy"].as_array().unwrap().iter().take(6) {
        let prompt = expected["prompts"][path["prompt"].as_u64().unwrap() as usize]["ids"]
            .as_array()
            .unwrap();
        let ids = prompt
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",");
        let penalty = path["repetition_penalty"].to_string();
        let model = fixture("mini-int4-act-order");
        let out = ok(
            &[
                "generate",
                "--model",
                &model,
                "--ids",
                &ids,
                "--temperature",
                "0",
                "--ignore-eos",
                "--max-new-tokens",
                "32",
                "--repetition-penalty",
                &penalty,
                "--json",
                "--dtype",
                "f32",
            ],
            "",
        );
        let answer: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(answer["ids"], path["tokens"]);
        assert_eq!(answer["stop"], "max_new_tokens");
        assert_eq!(answer["usage"]["generated_tokens"], 32);
        assert!(answer["timings"]["prefill_s"].is_number());
    }
}

#[test]
fn logits_are_those_of_the_oracle() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("对数.safetensors").display().to_string();
    for (name, tolerance) in [
        ("mini-fp16-safetensors", 1e-4),
        ("mini-int8", 1e-3),
        ("wide-int4", 1e-3),
    ] {
        let goldens = Goldens::read(name, "expected");
        for (index, prompt) in goldens.prompts().iter().enumerate().take(4) {
            let ids: Vec<_> = prompt.iter().map(ToString::to_string).collect();
            let (model, ids) = (fixture(name), ids.join(","));
            let args = ["logits", "--model", &model, "--ids", &ids, "--out", &file];
            ok(&[&args[..], &["--force", "--dtype", "f32"]].concat(), "");
            let bytes = std::fs::read(&file).unwrap();
            let vocab = shape(&bytes)[1];
            let found = f32_tensors(&bytes).remove("logits").unwrap();
            let expected = &goldens.tensors[&format!("prompt.{index}.logits")];
            let rows = ids_of(&goldens.json["prompts"][index]["logit_rows"]);
            for (row, expected) in rows.iter().zip(expected.chunks_exact(vocab)) {
                let found = found.chunks_exact(vocab).nth(*row as usize).unwrap();
                let pairs = found.iter().zip(expected);
                let error = pairs.map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
                assert!(
                    error <= tolerance,
                    "{name}, prompt {index}, row {row}: {error}"
                );
            }
        }
    }
}
