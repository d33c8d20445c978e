//! Plans for GPUs that this machine need not have, and for its CPU.

use serde_json::Value;

use crate::support::{fixture, ok, ok_json, run, text};

fn plan(args: &[&str]) -> Value {
    let args = [&["plan", "--json"], args].concat();
    ok_json(&args)
}

fn layers(plan: &Value) -> Vec<u64> {
    let bounds =
        |stage: &Value| stage["layers"][1].as_u64().unwrap() - stage["layers"][0].as_u64().unwrap();
    plan["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(bounds)
        .collect()
}

fn refusal(args: &[&str]) -> String {
    let out = run(&[&["plan"], args].concat(), "");
    assert!(
        out.status.code() == Some(1) && out.stdout.is_empty(),
        "{args:?}"
    );
    text(&out.stderr)
}

#[test]
fn published_models_are_planned_without_their_files() {
    let four = plan(&["--cards", "t4,t4,t4,t4", "--model", "moss-moon-003-sft"]);
    assert_eq!(
        (&four["format"], layers(&four)),
        (&Value::from("fp16"), vec![9, 9, 9, 7])
    );
    let one = plan(&["--cards", "t4"]);
    assert_eq!(
        (&one["format"], layers(&one)),
        (&Value::from("int4"), vec![34]),
        "the default model"
    );
    let two = plan(&[
        "--cards",
        "t4,t4",
        "--model",
        "fnlp/moss-moon-003-sft-int8",
        "--layers-per-gpu",
        "20,14",
    ]);
    assert_eq!(
        (&two["format"], layers(&two)),
        (&Value::from("int8"), vec![20, 14])
    );
}

#[test]
fn an_8_bit_cache_needs_258_bytes_where_f16_needs_512() {
    let cache = |more: &[&str]| {
        let plan = plan(&[&["--cards", "a100-80"], more].concat());
        let bytes = |stage: &Value| stage["cache"].as_u64().unwrap();
        plan["stages"]
            .as_array()
            .unwrap()
            .iter()
            .map(bytes)
            .sum::<u64>()
    };
    let (native, int8) = (cache(&[]), cache(&["--kv-cache", "int8"]));
    // Heads of 256 values: two bytes each, or one each and two for the scale.
    assert_eq!(int8 * 512, native * 258);
    assert!(native > 0);
}

#[test]
fn a_plan_counts_the_conversations_of_a_server() {
    let t4 = plan(&["--cards", "t4"])["kv_cache"].clone();
    let of = |name: &str| t4[name].as_u64().unwrap();
    assert!(
        of("conversations") >= 2 && of("conversations_of_512") >= 8,
        "{t4}"
    );
    assert_eq!(of("tokens") / 2048, of("conversations"));
    assert!((8..=32).contains(&of("parallel")), "{t4}");
    let h200 = plan(&["--cards", "h200", "--model", "moss-moon-003-sft"])["kv_cache"].clone();
    assert_eq!(h200["parallel"], 256);
    assert!(h200["conversations"].as_u64().unwrap() > 40, "{h200}");
    let text = ok(&["plan", "--cards", "t4"], "");
    assert!(text.contains("conversations of 2048 tokens"), "{text}");
}

#[test]
fn a_checkpoint_is_planned_by_its_own_tensors() {
    let found = plan(&[
        "--demo",
        "--gpu",
        "cpu,cpu",
        "--cpu-memory",
        "2",
        "--cpu-bandwidth",
        "10",
    ]);
    assert_eq!(
        (&found["model"], layers(&found)),
        (&Value::from("moss-demo"), vec![4, 4])
    );
    let inspected: Value = serde_json::from_str(&ok(&["inspect", "--demo", "--json"], "")).unwrap();
    let sum = |key: &str| -> u64 {
        found["stages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|stage| stage[key].as_u64().unwrap())
            .sum()
    };
    let (planned, stored) = (
        sum("weights") + sum("embedding"),
        inspected["bytes"].as_u64().unwrap(),
    );
    assert!(
        planned >= stored && planned < stored * 12 / 10,
        "{planned} for {stored}: tables of scales are wider"
    );
    let fixture = fixture("mini-int8");
    let fixture = plan(&["--model", &fixture, "--cards", "t4,t4,t4"]);
    assert_eq!(layers(&fixture), [1, 1], "two layers");
    assert!(
        fixture["notes"][0]
            .as_str()
            .unwrap()
            .contains("fewer layers than devices")
    );
}

#[test]
fn predictions_follow_from_bytes_and_bandwidth() {
    let slow = plan(&[
        "--cards",
        "cpu",
        "--cpu-memory",
        "64",
        "--cpu-bandwidth",
        "50",
    ]);
    let fast = plan(&[
        "--cards",
        "cpu",
        "--cpu-memory",
        "64",
        "--cpu-bandwidth",
        "100",
    ]);
    let rate = |plan: &Value| plan["predicted"]["tokens_per_s_empty"].as_f64().unwrap();
    let weights = slow["stages"][0]["weights"].as_f64().unwrap();
    assert!(
        (rate(&slow) * weights / 50e9 - 1.0).abs() < 1e-9
            && (rate(&fast) / rate(&slow) - 2.0).abs() < 1e-9
    );
    assert!(
        slow["predicted"]["first_token_s"].is_null(),
        "the arithmetic rate of a CPU is unknown"
    );
    let t4 = plan(&["--cards", "t4"]);
    assert!(t4["predicted"]["first_token_s"].as_f64().unwrap() > 0.5);
}

#[test]
fn an_impossible_plan_names_each_shortfall_and_what_would_fit() {
    let notes = refusal(&["--cards", "t4,t4", "--format", "fp16"]);
    for part in [
        "device 0 (t4)",
        "device 1 (t4)",
        "lacks",
        "hint:",
        "int8",
        "1 more like device 0",
        "`cpu`",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    let notes = refusal(&[
        "--cards",
        "t4,t4,t4,t4",
        "--format",
        "fp16",
        "--layers-per-gpu",
        "20,1,1,12",
    ]);
    assert!(
        notes.contains("device 0 (t4) with 20 layers") && notes.contains("let the program"),
        "{notes}"
    );
    let notes = refusal(&["--cards", "t4,t4", "--layers-per-gpu", "34,0"]);
    assert!(notes.contains("layers per device are 34,0"), "{notes}");
    let notes = refusal(&["--cards", "t4,t4", "--layers-per-gpu", "9,9"]);
    assert!(
        notes.contains("layers per device are 9,9") && notes.contains("34 in total"),
        "{notes}"
    );
}

#[test]
fn unknown_gpus_models_and_contexts_are_refused() {
    assert!(refusal(&["--cards", "v100"]).contains("compute capability 7.0"));
    assert!(refusal(&["--cards", "t5"]).contains("rtx3090"));
    assert!(refusal(&["--cards", "t4", "--gpu", "cpu"]).contains("cannot be used together"));
    assert!(refusal(&["--cards", "t4", "--context", "2049"]).contains("2048"));
    assert!(refusal(&["--cards", "t4", "--context", "0"]).contains("2048"));
    assert!(
        refusal(&["--cards", "t4", "--model", "nonsense"]).contains("`nonsense` was not found")
    );
    assert_eq!(
        run(&["plan", "--cards", "cpu", "--cpu-bandwidth", "0"], "")
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn the_table_is_printed_in_both_languages() {
    let args = [
        "plan",
        "--cards",
        "t4,cpu",
        "--format",
        "int8",
        "--cpu-memory",
        "64",
        "--cpu-bandwidth",
        "60",
    ];
    let english = ok(&[&args[..], &["--lang", "en"]].concat(), "");
    let chinese = ok(&[&args[..], &["--lang", "zh"]].concat(), "");
    for part in [
        "free after",
        "0: t4",
        "the embedding stays in host memory",
        "on the CPU",
        "predicted:",
    ] {
        assert!(english.contains(part), "{part}: {english}");
    }
    for part in ["剩余", "0: t4", "嵌入留在主机内存", "CPU 上的", "预测："] {
        assert!(chinese.contains(part), "{part}: {chinese}");
    }
}
