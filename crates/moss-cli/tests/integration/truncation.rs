//! Weight files that are truncated while they are in use.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::Child,
};

use moss_testing::{copy_files, demo};
use serde_json::json;

use crate::support::{command, ok, server::ServerProcess, text};

/// Documented in docs/troubleshooting.md.
const TRUNCATED: i32 = 74;
/// Nearly uniform over the vocabulary: an answer that does not end by itself.
const ENDLESS: [&str; 10] = [
    "--temperature",
    "1000",
    "--top-k",
    "0",
    "--top-p",
    "1",
    "--max-new-tokens",
    "1500",
    "--seed",
    "5",
];

fn copy_of_demo(folder: &Path) -> PathBuf {
    let copy = folder.join("model\u{1b}[31m"); // must be escaped in messages
    fs::create_dir(&copy).unwrap();
    copy_files(demo("moss-demo-int4"), &copy);
    copy
}

fn truncate(model: &Path) {
    let file = fs::File::options()
        .write(true)
        .open(model.join("pytorch_model.bin"))
        .unwrap();
    file.set_len(4096).unwrap();
}

/// Starts an answer and waits for its first bytes.
fn generating(folder: &Path, args: &[&str]) -> Child {
    let args = [&["generate", "Hi", "--lang", "en"], &ENDLESS[..], args].concat();
    let mut child = command(folder, &args).spawn().unwrap();
    drop(child.stdin.take());
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut [0; 4])
        .unwrap();
    child
}

fn assert_reported(error: &str) {
    for part in [
        "error: the weight file `",
        "model\\u{1b}[31m/pytorch_model.bin` can no longer be read: it was truncated",
        "hint: replace files by rename",
        "--no-mmap",
    ] {
        assert!(
            error.contains(part) && !error.contains('\u{1b}'),
            "{part}: {error:?}"
        );
    }
}

#[test]
fn a_weight_file_truncated_during_an_answer_ends_the_program_with_a_message_and_status_74() {
    let folder = tempfile::tempdir().unwrap();
    let model = copy_of_demo(folder.path());
    let child = generating(folder.path(), &["--model", model.to_str().unwrap()]);
    truncate(&model);
    let out = child.wait_with_output().unwrap();
    assert_eq!(
        out.status.code(),
        Some(TRUNCATED),
        "{:?} {}",
        out.status,
        text(&out.stderr)
    );
    assert_reported(&text(&out.stderr));
}

#[test]
fn a_waiting_chat_reports_the_file_at_the_next_message() {
    let folder = tempfile::tempdir().unwrap();
    let model = copy_of_demo(folder.path());
    let mut child = command(
        folder.path(),
        &["--model", model.to_str().unwrap(), "--lang", "en"],
    )
    .spawn()
    .unwrap();
    let (mut input, mut answers) = (
        child.stdin.take().unwrap(),
        BufReader::new(child.stdout.take().unwrap()),
    );
    input.write_all(b"Hi\n").unwrap();
    answers.read_line(&mut String::new()).unwrap();
    truncate(&model);
    input.write_all(b"Who are you?\n").unwrap();
    drop(input);
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(TRUNCATED), "{}", text(&out.stderr));
    assert_reported(&text(&out.stderr));
}

#[test]
fn with_no_mmap_a_truncated_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let model = copy_of_demo(folder.path());
    let name = model.to_str().unwrap();
    let args = [&["generate", "Hi", "--model", name, "--json"], &ENDLESS[..]].concat();
    let ids = |out: &str| serde_json::from_str::<serde_json::Value>(out).unwrap()["ids"].clone();
    let mapped = ids(&ok(&args, ""));
    let mut read = command(folder.path(), &[&args[..], &["--no-mmap"]].concat())
        .spawn()
        .unwrap();
    // The message is in the arguments, so the answer starts as soon as the model is loaded.
    drop(read.stdin.take());
    let out = read.wait_with_output().unwrap();
    assert_eq!(mapped, ids(&text(&out.stdout)), "{}", text(&out.stderr));
    let child = generating(folder.path(), &["--model", name, "--no-mmap"]);
    truncate(&model);
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
}

#[test]
fn a_server_whose_weight_file_is_truncated_ends_with_the_same_message_and_status() {
    let folder = tempfile::tempdir().unwrap();
    let model = copy_of_demo(folder.path());
    let name = model.to_str().unwrap();
    let args = ["serve", "--model", name, "--port", "0", "--lang", "en"];
    let server = ServerProcess::start(command(folder.path(), &args));
    let body = json!({
        "prompt": "Hi",
        "max_tokens": 1500,
        "temperature": 2,
        "logit_bias": {"2740": -100},
        "stream": true,
    });
    let mut stream = server.client().open_post("/v1/completions", &body);
    stream.read_exact(&mut [0; 400]).unwrap();
    truncate(&model);
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(TRUNCATED), "{log}");
    assert_reported(&log);
}
