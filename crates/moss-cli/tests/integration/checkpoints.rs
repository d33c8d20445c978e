//! `convert`, `quantize` and `eval`, with the demo model.

use std::path::Path;

use serde_json::Value;

use crate::support::{demo, fails, fixture, ok, run, text};

fn at(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

#[test]
fn a_converted_checkpoint_answers_as_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let target = at(folder.path(), "safe");
    ok(
        &[
            "convert",
            &demo(),
            &target,
            "--to",
            "safetensors",
            "--max-shard-size",
            "0.001",
        ],
        "",
    );
    assert!(
        Path::new(&target)
            .join("model.safetensors.index.json")
            .exists()
    );
    let ask = |model: &str| {
        ok(
            &[
                "generate",
                "--model",
                model,
                "Who are you?",
                "--temperature",
                "0",
                "--quiet",
            ],
            "",
        )
    };
    assert_eq!(ask(&target), ask(&demo()));
    fails(
        &["convert", &demo(), &target, "--to", "bin"],
        &["already exists", "hint: use another folder"],
    );
    fails(
        &["convert", &demo(), &demo(), "--to", "bin"],
        &["already exists", "hint: use another folder"],
    );
}

#[test]
fn quantize_reports_every_layer_and_eval_judges_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let (target, file) = (at(folder.path(), "int4"), at(folder.path(), "texts.jsonl"));
    let out = run(
        &["quantize", &demo(), &target, "--samples", "8", "--json"],
        "",
    );
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(
        text(&out.stderr).contains("8 short dialogues that are part of this program"),
        "{}",
        text(&out.stderr)
    );
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(report["linears"].as_array().unwrap().len(), 32);
    for linear in report["linears"].as_array().unwrap() {
        let (weights, outputs) = (&linear["weight_error"], &linear["output_error"]);
        assert!(
            outputs.as_f64().unwrap() > 0.0 && weights.as_f64().unwrap() < 0.1,
            "{linear}"
        );
    }
    let perplexity = &report["perplexity"];
    assert!(
        perplexity["before"].as_f64().unwrap() > 1.0 && perplexity["after"].as_f64().unwrap() < 1.2
    );

    let dialogue = r#"{"turns": [{"user": "1 + 1 = ?", "moss": "1 + 1 = 2."}]}"#;
    std::fs::write(&file, format!("{dialogue}\n")).unwrap();
    let args = [
        "eval",
        "--model",
        &target,
        "--perplexity",
        &file,
        "--against",
        &demo(),
        "--json",
    ];
    let found: Value = serde_json::from_str(&ok(&args, "")).unwrap();
    assert!(found["mean_kl"].as_f64().unwrap() < 0.01 && found["mean_kl"].as_f64().unwrap() > 0.0);
    assert_eq!(
        (found["top_1"].as_f64(), found["window"].as_u64()),
        (Some(1.0), Some(2048))
    );
    let same: Value = serde_json::from_str(&ok(
        &[
            "eval",
            "--model",
            &demo(),
            "--perplexity",
            &file,
            "--against",
            &demo(),
            "--json",
        ],
        "",
    ))
    .unwrap();
    assert_eq!(
        (same["mean_kl"].as_f64(), &same["model"]),
        (Some(0.0), &same["reference"])
    );
    let plain = ok(
        &[
            "eval",
            "--model",
            &demo(),
            "--perplexity",
            &file,
            "--window",
            "64",
            "--stride",
            "16",
        ],
        "",
    );
    assert!(plain.contains("windows of 64 every 16"), "{plain}");
    fails(
        &["quantize", &target, &at(folder.path(), "x")],
        &["is already quantized to 4 bits", "hint: quantize the fp16"],
    );
    std::fs::write(&file, "no json\n").unwrap();
    fails(
        &["eval", "--model", &demo(), "--perplexity", &file],
        &["line 1 of", "hint: a line is"],
    );
}

#[test]
fn rounding_to_the_nearest_needs_no_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let target = at(folder.path(), "int8");
    let source = fixture("tiny-fp16-bin");
    let args = [
        "quantize",
        &source,
        &target,
        "--method",
        "rtn",
        "--bits",
        "8",
        "--group-size",
        "-1",
    ];
    let table = ok(&args, "");
    assert!(table.contains("transformer.h.2.mlp.fc_out"), "{table}");
    fails(
        &[
            "quantize",
            &source,
            &at(folder.path(), "x"),
            "--method",
            "rtn",
            "--group-size",
            "100",
        ],
        &["group size 100", "128"],
    );
    let usage = run(
        &["quantize", &source, &at(folder.path(), "x"), "--bits", "3"],
        "",
    );
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn a_model_that_cannot_be_measured_is_still_quantised() {
    let folder = tempfile::tempdir().unwrap();
    let target = at(folder.path(), "int8");
    // The demo has eight layers, so it cannot be loaded with this flag; a GPU that is too small
    // fails in the same way.
    let impossible = ["--layers-per-gpu", "1"];
    let args = [
        "quantize",
        &demo(),
        &target,
        "--method",
        "rtn",
        "--bits",
        "8",
        "--json",
    ];
    let out = run(&[&args[..], &impossible].concat(), "");
    let stderr = text(&out.stderr);
    assert!(out.status.success(), "{stderr}");
    assert_eq!(
        stderr
            .matches("was not measured (`moss-cli eval --gpu cpu`")
            .count(),
        2,
        "{stderr}"
    );
    assert!(
        stderr.contains("cannot load the model: the layers per device are 1")
            && stderr.contains("wrote `"),
        "{stderr}"
    );
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(
        report["perplexity"]["before"].is_null() && report["perplexity"]["after"].is_null(),
        "{report}"
    );
    ok(
        &[
            "generate",
            "--model",
            &target,
            "Who are you?",
            "--max-new-tokens",
            "4",
        ],
        "",
    );
    let out = run(
        &[
            &["eval", "--model", &target, "--perplexity", "Cargo.toml"],
            &impossible[..],
        ]
        .concat(),
        "",
    );
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stderr));
}
