//! The tools for those who compare and measure.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};

use support::{fixture, fixture_json, fixtures, ok, run, text};

#[test]
fn tokenize_answers_json_lines_in_both_directions() {
    for (folder, file) in [
        ("tokenizer", "tokenizer_cases.jsonl"),
        ("tokenizer-ws", "tokenizer_ws_cases.jsonl"),
    ] {
        let cases = std::fs::read_to_string(fixtures().join(file)).unwrap();
        let cases: Vec<Value> = cases
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let mut input = String::new();
        for case in &cases {
            input += &format!("{}\n", json!({ "ids": case["ids"] }));
            if !case["text"].is_null() {
                input += &format!("{}\n", json!({ "text": case["text"] }));
            }
        }
        let out = ok(&["tokenize", "--model", &fixture(folder)], &input);
        let mut answers = out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        for case in &cases {
            let answer = answers.next().unwrap();
            assert_eq!(answer["text"], case["decoded"]);
            assert_eq!(answer["text_skip_special"], case["decoded_skip_special"]);
            if !case["text"].is_null() {
                assert_eq!(answers.next().unwrap()["ids"], case["ids"]);
            }
        }
    }
    let out = run(
        &["tokenize", "--model", &fixture("tokenizer")],
        "nonsense\n{\"text\":\"你\"}\n",
    );
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(
        text(&out.stdout).lines().count(),
        2,
        "the good line is answered all the same"
    );
}

#[test]
fn tokenize_answers_an_unknown_id_with_an_error_that_names_it() {
    let input = "{\"ids\":[5,1506]}\n{\"ids\":[4294967295]}\n{\"ids\":[1505]}\n{\"ids\":[4294967296]}\n{\"ids\":[-1]}\n";
    let out = run(&["tokenize", "--model", &fixture("tokenizer")], input);
    assert_eq!(out.status.code(), Some(1));
    let answers: Vec<Value> = text(&out.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let error = |index: usize| answers[index]["error"].as_str().unwrap_or_default();
    assert!(
        error(0).contains("token id 1506 at position 1") && error(1).contains("4294967295"),
        "{answers:?}"
    );
    assert_eq!(
        (&answers[2]["text"], &answers[2]["text_skip_special"]),
        (&json!("<eor>"), &json!(""))
    );
    assert!(!error(3).is_empty() && !error(4).is_empty(), "{answers:?}");
}

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

#[test]
fn a_pipe_or_a_device_among_the_files_of_a_model_ends_in_an_error_and_not_in_waiting() {
    let demo = fixtures().join("../../examples/demo/moss-demo-int4");
    let names = [
        "config.json",
        "vocab.json",
        "merges.txt",
        "added_tokens.json",
        "tokenizer_config.json",
    ];
    for (name, device) in names
        .into_iter()
        .flat_map(|name| [(name, true), (name, false)])
    {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(&demo).unwrap().flatten() {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        let file = folder.path().join(name);
        std::fs::remove_file(&file).unwrap();
        match device {
            true => std::os::unix::fs::symlink("/dev/zero", &file).unwrap(),
            false => assert!(
                std::process::Command::new("mkfifo")
                    .arg(&file)
                    .status()
                    .unwrap()
                    .success()
            ),
        }
        let out = run(
            &[
                "generate",
                "--model",
                &folder.path().display().to_string(),
                "hello",
            ],
            "",
        );
        let error = text(&out.stderr);
        assert!(
            out.status.code() == Some(1) && error.contains(name),
            "{error}"
        );
    }
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
        let bytes = std::fs::read(&file).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.tensor("logits").unwrap().shape(), [rows, 320]);
    }
}

#[test]
fn generate_by_ids_walks_the_greedy_paths_without_tokenizer_files() {
    let expected: Value = serde_json::from_slice(
        &std::fs::read(fixtures().join("mini-int4-act-order/expected.json")).unwrap(),
    )
    .unwrap();
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
fn verify_passes_every_fixture_and_fails_a_wrong_one() {
    for name in [
        "tiny-fp16-bin",
        "tiny-int4",
        "mini-fp16-safetensors",
        "mini-int4-act-order",
        "mini-int8",
        "mini-int8-act-order",
        "wide-int4",
    ] {
        let out = ok(&["verify", &fixture(name)], "");
        assert!(
            out.lines().count() >= 7 && !out.contains("FAIL"),
            "{name}: {out}"
        );
    }
    ok(
        &["verify", &fixture("wide-int4"), "--rope-precision", "f16"],
        "",
    );
    let named = ok(&["verify", &fixture("tiny-fp16-safetensors")], "");
    assert!(
        !named.contains("FAIL"),
        "expected.txt names the folder with the values: {named}"
    );
    let wrong = run(
        &[
            "verify",
            &fixture("mini-int8"),
            "--expected",
            &fixture("mini-int8-act-order"),
        ],
        "",
    );
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stdout).contains("FAIL"));
}

#[test]
fn activations_of_8_bits_are_measured_and_refused_by_name() {
    let out = ok(
        &["verify", &fixture("tiny-int4"), "--activations", "int8"],
        "",
    );
    assert!(
        !out.contains("FAIL") && !out.contains("greedy paths"),
        "{out}"
    );
    for (args, says) in [
        (["tiny-int4", "--dtype", "f32"], "F32"),
        (["tiny-fp16-bin", "--dtype", "f16"], "F16"),
    ] {
        let [name, dtype, value] = args;
        let refused = run(
            &[
                "verify",
                &fixture(name),
                dtype,
                value,
                "--activations",
                "int8",
            ],
            "",
        );
        let error = text(&refused.stderr);
        assert!(
            !refused.status.success() && error.contains(says) && error.contains("hint:"),
            "{error}"
        );
    }
}

#[test]
fn inspect_says_what_a_checkpoint_holds() {
    let out = ok(&["inspect", &fixture("mini-int4-act-order")], "");
    assert!(
        out.contains("GPTQ int4, group 128, act-order") && out.contains("tokenizer none"),
        "{out}"
    );
    let out: Value =
        serde_json::from_str(&ok(&["inspect", "--demo", "--json", "--check"], "")).unwrap();
    assert_eq!((&out["layers"], &out["problems"]), (&json!(8), &json!([])));
}

#[test]
fn bench_measures_against_the_machines_own_bandwidth() {
    let out = ok(
        &[
            "bench",
            "--demo",
            "--prompt",
            "32",
            "--new",
            "4",
            "--json",
            "--threads",
            "1",
        ],
        "",
    );
    let found: Value = serde_json::from_str(&out).unwrap();
    assert!(
        found["contexts"][0]["share"].as_f64().unwrap() > 0.0
            && found["bandwidth"].as_f64().unwrap() > 1e8
    );
    let out = ok(
        &[
            "bench",
            "--demo",
            "--gpu",
            "cpu,cpu",
            "--layers-per-gpu",
            "4,4",
            "--prompt",
            "16,32",
            "--new",
            "2",
        ],
        "",
    );
    assert!(out.contains("stage 1  CPU, layers 4 to 7"), "{out}");
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
        let expected = fixture_json(&format!("{name}/expected.json"));
        let oracle = std::fs::read(fixtures().join(name).join("expected.safetensors")).unwrap();
        let oracle = safetensors::SafeTensors::deserialize(&oracle).unwrap();
        for (index, prompt) in expected["prompts"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
            .take(4)
        {
            let ids = prompt["ids"]
                .as_array()
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>();
            ok(
                &[
                    "logits",
                    "--model",
                    &fixture(name),
                    "--ids",
                    &ids.join(","),
                    "--out",
                    &file,
                    "--force",
                    "--dtype",
                    "f32",
                ],
                "",
            );
            let found = std::fs::read(&file).unwrap();
            let found = safetensors::SafeTensors::deserialize(&found).unwrap();
            let found = found.tensor("logits").unwrap();
            let vocab = found.shape()[1];
            let floats = |data: &[u8]| -> Vec<f32> {
                data.chunks_exact(4)
                    .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
                    .collect()
            };
            let (found, wanted) = (
                floats(found.data()),
                floats(
                    oracle
                        .tensor(&format!("prompt.{index}.logits"))
                        .unwrap()
                        .data(),
                ),
            );
            let rows = prompt["logit_rows"].as_array().unwrap();
            for (row, wanted) in rows.iter().zip(wanted.chunks_exact(vocab)) {
                let found = found
                    .chunks_exact(vocab)
                    .nth(row.as_u64().unwrap() as usize)
                    .unwrap();
                let off = found
                    .iter()
                    .zip(wanted)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0f32, f32::max);
                assert!(off <= tolerance, "{name}, prompt {index}, row {row}: {off}");
            }
        }
    }
}

#[test]
fn inspect_lists_tensors_and_fails_on_a_broken_checkpoint() {
    let out = ok(
        &["inspect", &fixture("mini-int8"), "--json", "--tensors"],
        "",
    );
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        out["tensors"].as_u64().unwrap() as usize,
        out["tensor_list"].as_array().unwrap().len()
    );
    assert_eq!(
        out["cache_bytes_per_token"],
        2 * 2 * 2 * 128,
        "layers, keys and values, f16, width"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(
        fixtures().join("mini-int8/config.json"),
        folder.path().join("config.json"),
    )
    .unwrap();
    let bytes = std::fs::read(fixtures().join("mini-int8/pytorch_model.bin")).unwrap();
    std::fs::write(
        folder.path().join("pytorch_model.bin"),
        &bytes[..bytes.len() / 2],
    )
    .unwrap();
    let broken = run(&["inspect", &folder.path().display().to_string()], "");
    assert_eq!(broken.status.code(), Some(1));
    assert!(
        text(&broken.stderr).contains("pytorch_model.bin"),
        "{}",
        text(&broken.stderr)
    );
}

#[test]
fn inspect_check_names_the_damaged_record_and_its_tensor() {
    for (name, expected) in [("data.pkl", "data.pkl` of"), ("data/3", "data/3` of")] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pytorch_model.bin");
        std::fs::copy(
            fixtures().join("mini-int8/config.json"),
            folder.path().join("config.json"),
        )
        .unwrap();
        let mut bytes = std::fs::read(fixtures().join("mini-int8/pytorch_model.bin")).unwrap();
        // The local header: a name, then fields that the header's own lengths bound, then the
        // bytes.
        let name = name.as_bytes();
        let at = bytes
            .windows(name.len())
            .position(|window| window == name)
            .unwrap();
        let header = bytes[..at]
            .windows(4)
            .rposition(|magic| magic == b"PK\x03\x04")
            .unwrap();
        let length = |offset: usize| {
            usize::from(u16::from_le_bytes(
                bytes[header + offset..header + offset + 2]
                    .try_into()
                    .unwrap(),
            ))
        };
        let data = header + 30 + length(26) + length(28);
        bytes[data + 1] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        let path = folder.path().display().to_string();
        let out = run(&["inspect", &path, "--check", "--lang", "en"], "");
        let said = text(&out.stdout) + &text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(
            said.contains(expected) && said.contains("is damaged: its CRC-32 is 0x"),
            "{said}"
        );
        assert_eq!(
            name != b"data.pkl",
            said.contains("(it holds `transformer.h."),
            "{said}"
        );
    }
    let whole = ok(
        &["inspect", &fixture("mini-int8"), "--check", "--lang", "en"],
        "",
    );
    assert!(!whole.contains("problem"), "{whole}");
}

#[test]
fn bench_refuses_what_the_window_cannot_hold() {
    let out = run(&["bench", "--demo", "--prompt", "2040", "--new", "9"], "");
    assert!(out.status.code() == Some(1) && text(&out.stderr).contains("window of 2048"));
}

#[test]
fn bench_refuses_layers_that_no_memory_holds_before_it_makes_them() {
    for layers in ["0", "1001", "99999999999", "99999999999999999999"] {
        let out = run(&["bench", "--random-weights", "--layers", layers], "");
        let error = text(&out.stderr);
        assert!(
            out.status.code() == Some(2) && error.contains("expected a number from 1 to 1000"),
            "{error}"
        );
    }
}

#[test]
fn bench_refuses_weights_that_this_machine_cannot_hold_and_says_how_many_layers_it_can() {
    let out = run(
        &[
            "bench",
            "--random-weights",
            "--format",
            "fp16",
            "--layers",
            "1000",
            "--gpu",
            "cpu",
        ],
        "",
    );
    let error = text(&out.stderr);
    assert!(
        out.status.code() == Some(1) && error.contains("weights of 1000 layers take 90"),
        "{error}"
    );
    assert!(error.contains("take fewer: `--layers "), "{error}");
}
