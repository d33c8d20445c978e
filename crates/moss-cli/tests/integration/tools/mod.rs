//! `tokenize`, `logits`, `verify`, `inspect` and `bench`.

mod bench;
mod inspect;
mod logits;
mod verify;

use moss_testing::{copy_of, demo};
use serde_json::{Value, json};

use crate::support::{fixture, ok, run, text};

#[test]
fn tokenize_answers_json_lines_in_both_directions() {
    for (folder, file) in [
        ("tokenizer", "tokenizer_cases.jsonl"),
        ("tokenizer-ws", "tokenizer_ws_cases.jsonl"),
    ] {
        let cases = std::fs::read_to_string(fixture(file)).unwrap();
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
        "the valid line is answered"
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
fn a_pipe_or_a_device_among_the_files_of_a_model_ends_in_an_error_and_not_in_waiting() {
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
        let folder = copy_of(demo("moss-demo-int4"));
        let file = folder.path().join(name);
        std::fs::remove_file(&file).unwrap();
        if device {
            std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
        } else {
            let made = std::process::Command::new("mkfifo").arg(&file).status();
            assert!(made.unwrap().success());
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
