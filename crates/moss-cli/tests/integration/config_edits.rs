//! Messages of `inspect`, `plan` and `generate` about checkpoints whose files were edited, mixed up
//! or left over.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use moss_testing::{copy_fixture, copy_of, demo, edit_json};
use serde_json::{Value, json};

use crate::support::{fixture, ok, run, text};

fn edit(folder: &Path, key: &str, value: Value) {
    edit_json(folder.join("config.json"), |config| config[key] = value);
}

#[test]
fn an_edited_config_is_an_error_with_its_key_within_seconds() {
    let demo = demo("moss-demo-int4");
    for key in [
        "n_layer",
        "n_positions",
        "n_embd",
        "n_head",
        "vocab_size",
        "n_inner",
    ] {
        for value in [
            json!(1u64 << 31),
            json!(1u64 << 63),
            json!(-1),
            json!(1e30),
            json!("8"),
            json!(0),
        ] {
            let folder = copy_of(&demo);
            edit(folder.path(), key, value.clone());
            let name = folder.path().display().to_string();
            for args in [
                &["inspect", &name][..],
                &["plan", "--model", &name, "--cards", "t4"],
                &[
                    "generate",
                    "--model",
                    &name,
                    "--ids",
                    "1,2,3",
                    "--max-new-tokens",
                    "1",
                ],
            ] {
                let started = Instant::now();
                let out = run(args, "");
                let stderr = text(&out.stderr) + &text(&out.stdout);
                assert_eq!(
                    out.status.code(),
                    Some(1),
                    "{args:?} {key} {value}: {stderr}"
                );
                assert!(
                    stderr.contains(&format!("`{key}`")),
                    "{args:?} {key} {value}: {stderr}"
                );
                assert!(
                    started.elapsed() < Duration::from_secs(60),
                    "{args:?} {key} {value}"
                );
            }
        }
    }
}

#[test]
fn huge_flags_of_plan_are_refused_or_planned() {
    let huge = "18446744073709551615";
    let cpu = [
        "plan",
        "--cards",
        "cpu",
        "--cpu-bandwidth",
        "50",
        "--cpu-memory",
        "1e300",
    ];
    ok(&cpu, "");
    for more in [
        &["--context", huge][..],
        &["--layers-per-gpu", huge],
        &["--cpu-bandwidth", "1e308"],
    ] {
        let args = [&["plan", "--cards", "cpu", "--cpu-memory", "64"], more].concat();
        assert_eq!(run(&args, "").status.code(), Some(1), "{more:?}");
    }
    let many = vec!["t4"; 200].join(",");
    let out = run(&["plan", "--cards", &many], "");
    assert!(
        out.status.code() == Some(1) && text(&out.stderr).contains("200 devices"),
        "{}",
        text(&out.stderr)
    );
    let two = format!("{huge},{huge}");
    let out = run(&["plan", "--cards", "t4,t4", "--layers-per-gpu", &two], "");
    assert!(
        out.status.code() == Some(1) && text(&out.stderr).contains("34 in total"),
        "{}",
        text(&out.stderr)
    );
}

#[test]
fn inspect_names_the_weights_in_use_and_a_stale_index() {
    let stderr = ok(&["inspect", &fixture("stale-index")], "");
    assert!(
        stderr.contains("using `model.safetensors`") && stderr.contains("4 other file(s)"),
        "{stderr}"
    );
    let folder = copy_fixture("mini-int8");
    let index = r#"{"weight_map": {"a": "model-00001-of-00002.safetensors"}}"#;
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    let out = run(&["inspect", &folder.path().display().to_string()], "");
    let stderr = text(&out.stderr);
    assert!(
        out.status.code() == Some(1) && stderr.contains("stale") && stderr.contains("hint: delete"),
        "{stderr}"
    );
}

#[test]
fn inspect_and_plan_tell_the_convention_of_zero_points_and_mixed_formats() {
    let folder = copy_fixture("mini-int8");
    edit(
        folder.path(),
        "quantization_config",
        json!({"bits": 8, "checkpoint_format": "gptq_v2"}),
    );
    let name = folder.path().display().to_string();
    assert!(ok(&["inspect", &name], "").contains("gptq_v2 zero points"));
    edit(
        folder.path(),
        "quantization_config",
        json!({"bits": 4, "quant_method": "awq"}),
    );
    let out = run(&["inspect", &name], "");
    assert!(
        text(&out.stderr).contains("awq") && text(&out.stderr).contains("only GPTQ"),
        "{}",
        text(&out.stderr)
    );

    let folder = mixed();
    let mixed = folder.path().display().to_string();
    let found: Value = serde_json::from_str(&ok(&["inspect", &mixed, "--json"], "")).unwrap();
    assert_eq!(
        found["format"],
        "mixed: GPTQ int8, group 128, act-order (7 linear layers); f16 (1 linear layers)"
    );
    let chinese = ok(&["inspect", &mixed, "--lang", "zh"], "");
    assert!(chinese.contains("混合：GPTQ int8"), "{chinese}");
    let plan: Value = serde_json::from_str(&ok(
        &["plan", "--model", &mixed, "--cards", "t4", "--json"],
        "",
    ))
    .unwrap();
    assert_eq!(plan["format"], "mixed (int8 group 128 x 7, fp16 x 1)");
}

/// Returns the header and the data of a safetensors file.
fn parts(name: &str) -> (serde_json::Map<String, Value>, Vec<u8>) {
    let bytes = fs::read(Path::new(&fixture(name)).join("model.safetensors")).unwrap();
    let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (
        serde_json::from_slice(&bytes[8..end]).unwrap(),
        bytes[end..].to_vec(),
    )
}

/// Writes the int8 fixture with `fc_out` of its first layer in f16.
fn mixed() -> tempfile::TempDir {
    let stem = "transformer.h.0.mlp.fc_out.";
    let ((int8, int8_bytes), (f16, f16_bytes)) =
        (parts("mini-int8-act-order"), parts("mini-fp16-safetensors"));
    let kept = int8
        .iter()
        .filter(|(name, _)| !name.starts_with(stem))
        .map(|tensor| (tensor, &int8_bytes));
    let other = f16
        .iter()
        .filter(|(name, _)| name.starts_with(stem))
        .map(|tensor| (tensor, &f16_bytes));
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for ((name, info), bytes) in kept
        .chain(other)
        .filter(|((name, _), _)| *name != "__metadata__")
    {
        let at = |index: usize| info["data_offsets"][index].as_u64().unwrap() as usize;
        let start = data.len();
        data.extend(&bytes[at(0)..at(1)]);
        let mut info = info.clone();
        info["data_offsets"] = json!([start, data.len()]);
        header.insert(name.clone(), info);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
    fs::write(folder.path().join("model.safetensors"), file).unwrap();
    fs::copy(
        Path::new(&fixture("mini-int8-act-order")).join("config.json"),
        folder.path().join("config.json"),
    )
    .unwrap();
    folder
}
