//! The built binary, as its users run it.
#![allow(clippy::unwrap_used)]

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

/// The binary, in a folder and with a home of its own.
fn moss(folder: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_moss-cli"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("XDG_CACHE_HOME", std::env::temp_dir().join("moss-cli-tests"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A child that fails early closes its end.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn run(args: &[&str], input: &str) -> Output {
    moss(&std::env::temp_dir(), args, input.as_bytes())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn ok(args: &[&str], input: &str) -> String {
    let out = run(args, input);
    assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
    text(&out.stdout)
}

fn fixture(name: &str) -> String {
    fixtures().join(name).display().to_string()
}

#[test]
fn a_piped_chat_prints_answers_alone() {
    let out = run(
        &["--demo", "--temperature", "0", "--lang", "en"],
        "你好\nWho are you?\n/stats\n/undo\nclear\nHi there\nstop\nnever read\n",
    );
    let answers = text(&out.stdout);
    let lines: Vec<&str> = answers.lines().collect();
    assert_eq!(lines.len(), 3, "{answers}");
    assert!(
        lines[0].contains("演示模型") && lines[1].contains("demo model") && lines[2].contains("demo model")
    );
    let notes = text(&out.stderr);
    assert!(notes.contains("from the cache") && notes.contains("took back: Who are you?"), "{notes}");
    assert!(out.status.success());
}

#[test]
fn the_same_seed_gives_the_same_text() {
    let ask = || ok(&["--demo", "--seed", "5", "--temperature", "1.5", "generate", "讲个笑话"], "");
    assert_eq!(ask(), ask());
}

#[test]
fn both_demo_models_recommend_five_films() {
    for demo in ["--demo", "--demo=fp16"] {
        let answer = ok(&[demo, "generate", "推荐五部科幻电影"], "");
        assert_eq!(answer.matches('《').count(), 5, "{answer}");
        let answer = ok(&[demo, "generate"], "Recommend five sci-fi films\n");
        assert!(answer.contains("Blade Runner"), "{answer}");
    }
}

#[test]
fn input_in_another_encoding_is_named_and_the_chat_goes_on() {
    let gbk = b"\xc4\xe3\xba\xc3\nHi there\n";
    let out = moss(&std::env::temp_dir(), &["--demo", "--lang", "en"], gbk);
    let notes = text(&out.stderr);
    assert!(
        notes.contains("line 1 is not UTF-8 at offset 0 (byte 0xc4)") && notes.contains("iconv"),
        "{notes}"
    );
    assert_eq!(text(&out.stdout).lines().count(), 1);
    assert!(out.status.success());
}

#[test]
fn a_conversation_is_saved_and_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let out = moss(folder.path(), &["--demo"], "你好\n/save 对话.json\n".as_bytes());
    assert!(out.status.success(), "{}", text(&out.stderr));
    let saved: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("对话.json")).unwrap()).unwrap();
    assert_eq!(saved["turns"][0]["user"], "你好");
    let out = moss(
        folder.path(),
        &["--demo", "--lang", "en"],
        "/load 对话.json\n/stats\n/load nothing.json\n".as_bytes(),
    );
    let notes = text(&out.stderr);
    assert!(notes.contains("1 turn(s)") && notes.contains("cannot read `nothing.json`"), "{notes}");
}

#[test]
fn slips_are_told_from_messages() {
    let out = run(
        &["--demo", "--lang", "en"],
        "/halp\n/params top_p 7\n/params temperature 0\n/params\n/results x\n",
    );
    let notes = text(&out.stderr);
    for part in [
        "`/halp` is no command",
        "`top_p` is 7, expected 0 to 1",
        "temperature 0\n",
        "no command that waits for results",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    assert!(out.stdout.is_empty());
}

#[test]
fn several_lines_make_one_message() {
    let out = run(&["--demo", "--temperature", "0"], "/multi\nWho are you?\n.\n");
    assert!(text(&out.stdout).contains("demo model"));
}

#[test]
fn tokenize_answers_json_lines_in_both_directions() {
    for (folder, file) in
        [("tokenizer", "tokenizer_cases.jsonl"), ("tokenizer-ws", "tokenizer_ws_cases.jsonl")]
    {
        let cases = std::fs::read_to_string(fixtures().join(file)).unwrap();
        let cases: Vec<Value> = cases.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut input = String::new();
        for case in &cases {
            input += &format!("{}\n", json!({ "ids": case["ids"] }));
            if !case["text"].is_null() {
                input += &format!("{}\n", json!({ "text": case["text"] }));
            }
        }
        let out = ok(&["tokenize", "--model", &fixture(folder)], &input);
        let mut answers = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        for case in &cases {
            let answer = answers.next().unwrap();
            assert_eq!(answer["text"], case["decoded"]);
            assert_eq!(answer["text_skip_special"], case["decoded_skip_special"]);
            if !case["text"].is_null() {
                assert_eq!(answers.next().unwrap()["ids"], case["ids"]);
            }
        }
    }
    let out = run(&["tokenize", "--model", &fixture("tokenizer")], "nonsense\n{\"text\":\"你\"}\n");
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(text(&out.stdout).lines().count(), 2, "the good line is answered all the same");
}

#[test]
fn logits_are_written_as_safetensors() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logits.safetensors").display().to_string();
    for (extra, rows) in [(&[][..], 3), (&["--last"][..], 1)] {
        let model = fixture("mini-int8");
        let mut args = vec!["logits", "--model", &model, "--ids", "5,6,7", "--out", &file];
        args.extend(extra);
        ok(&args, "");
        let bytes = std::fs::read(&file).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.tensor("logits").unwrap().shape(), [rows, 320]);
    }
}

#[test]
fn generate_by_ids_walks_the_greedy_paths_without_tokenizer_files() {
    let expected: Value =
        serde_json::from_slice(&std::fs::read(fixtures().join("mini-int4-act-order/expected.json")).unwrap())
            .unwrap();
    for path in expected["greedy"].as_array().unwrap().iter().take(6) {
        let prompt =
            expected["prompts"][path["prompt"].as_u64().unwrap() as usize]["ids"].as_array().unwrap();
        let ids = prompt.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
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
        assert!(out.lines().count() >= 7 && !out.contains("FAIL"), "{name}: {out}");
    }
    ok(&["verify", &fixture("wide-int4"), "--rope-precision", "f16"], "");
    ok(&["verify", &fixture("tiny-fp16-safetensors"), "--expected", &fixture("tiny-fp16-bin")], "");
    let wrong = run(&["verify", &fixture("mini-int8"), "--expected", &fixture("mini-int8-act-order")], "");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stdout).contains("FAIL"));
}

#[test]
fn inspect_says_what_a_checkpoint_holds() {
    let out = ok(&["inspect", &fixture("mini-int4-act-order")], "");
    assert!(out.contains("GPTQ int4, group 128, act-order") && out.contains("tokenizer none"), "{out}");
    let out: Value = serde_json::from_str(&ok(&["inspect", "--demo", "--json", "--check"], "")).unwrap();
    assert_eq!((&out["layers"], &out["problems"]), (&json!(8), &json!([])));
}

#[test]
fn a_model_that_is_not_there_lists_where_it_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let out = moss(folder.path(), &[], b"");
    let notes = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1));
    for part in [
        "fnlp/moss-moon-003-sft-int4",
        "models--fnlp--moss-moon-003-sft-int4",
        "hint:",
        "--demo",
        "does not download",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
}

#[test]
fn a_gpu_is_refused_with_the_build_command() {
    let out = run(&["--demo", "--gpu", "0,1"], "");
    let notes = text(&out.stderr);
    assert!(notes.contains("--gpu 0,1") && notes.contains("--features cuda"), "{notes}");
    assert!(run(&["--demo", "--gpu", "cpu"], "").status.success());
}

#[test]
fn plugins_need_a_plugin_model() {
    let out = run(&["--demo", "--plugins", "web-search"], "");
    assert!(text(&out.stderr).contains("was not trained with plugins"));
}

#[test]
fn bench_measures_against_the_machines_own_bandwidth() {
    let out = ok(&["bench", "--demo", "--prompt", "32", "--new", "4", "--json", "--threads", "1"], "");
    let found: Value = serde_json::from_str(&out).unwrap();
    assert!(found["share"].as_f64().unwrap() > 0.0 && found["read_bandwidth"].as_f64().unwrap() > 1e8);
}

#[test]
fn completions_manual_and_help_are_there() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(ok(&["completions", shell], "").contains("moss-cli"));
    }
    assert!(ok(&["man"], "").contains(".TH"));
    let help = ok(&["--help"], "");
    for flag in [
        "--model",
        "--demo",
        "--threads",
        "--dtype",
        "--seed",
        "--top-k",
        "--plugins",
        "--gpu",
        "--lang",
        "moss-moon-003-sft-int4",
    ] {
        assert!(help.contains(flag), "{flag}");
    }
    assert!(ok(&["--model_name", "x", "--help"], "").contains("Usage"));
    assert_eq!(run(&["--nonsense"], "").status.code(), Some(2));
}
