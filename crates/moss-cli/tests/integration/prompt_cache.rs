//! `--prompt-cache` and `cache`.

use std::path::Path;

use serde_json::Value;

use crate::support::{fails, ok, ok_json, text};

/// Answers a message with the demo model and a prompt cache.
fn generate(cache: &Path, more: &[&str]) -> Value {
    let cache = cache.display().to_string();
    let args = ["generate", "--demo", "--temperature", "0", "--json"];
    let message = ["--prompt-cache", &cache, "What is 3 + 4?"];
    ok_json(&[&args[..], more, &message].concat())
}

fn list(cache: &Path) -> Value {
    let cache = cache.display().to_string();
    ok_json(&["cache", "list", "--json", "--prompt-cache", &cache])
}

#[test]
fn the_second_start_reads_the_system_prompt_from_the_file_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("prompts");
    assert_eq!(list(&cache)["files"], Value::Array(Vec::new()));
    let first = generate(&cache, &[]);
    assert_eq!(first["usage"]["reused_tokens"], 0);
    let second = generate(&cache, &[]);
    assert_eq!(second["ids"], first["ids"]);
    let tokens = second["usage"]["reused_tokens"].as_u64().unwrap();
    assert!(tokens > 300, "{second}");

    let listed = list(&cache);
    let [file] = &listed["files"].as_array().unwrap()[..] else {
        panic!("{listed}")
    };
    assert_eq!(
        (&file["model"], &file["tokens"]),
        (&"moss-demo".into(), &tokens.into())
    );
    assert_eq!(listed["bytes"], file["bytes"]);

    let path = cache.display().to_string();
    let args = ["cache", "list", "--prompt-cache", &path];
    let shown = ok(&args, "");
    assert!(
        shown.contains(&format!("moss-demo: {tokens} tokens, ")),
        "{shown}"
    );
    let shown = ok(&[&args[..], &["--lang", "zh"]].concat(), "");
    assert!(
        shown.contains(&format!("moss-demo：{tokens} 个词元，")),
        "{shown}"
    );

    let shown = ok(&["cache", "clear", "--prompt-cache", &path], "");
    assert!(shown.starts_with("1 file(s) removed, "), "{shown}");
    assert_eq!(list(&cache)["bytes"], 0);
    assert_eq!(generate(&cache, &[])["usage"]["reused_tokens"], 0);
}

#[test]
fn a_chat_keeps_its_system_prompt_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let chat = || {
        let args = [
            "--demo",
            "--temperature",
            "0",
            "-v",
            "--prompt-cache",
            &path,
        ];
        let out = crate::support::run(&args, "What is 3 + 4?\n");
        assert!(out.status.success());
        (text(&out.stdout), text(&out.stderr))
    };
    let (first, log) = chat();
    let note = "tokens of the system prompt were read from the prompt cache";
    assert!(!log.contains(note), "{log}");
    let (second, log) = chat();
    assert_eq!(second, first);
    assert!(log.contains(note), "{log}");
}

#[test]
fn other_numbers_are_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), &[]);
    for more in [
        &["--dtype", "f16"][..],
        &["--rope-precision", "f16"],
        &["--system", "Hi."],
    ] {
        assert_eq!(
            generate(folder.path(), more)["usage"]["reused_tokens"],
            0,
            "{more:?}"
        );
    }
    assert_eq!(list(folder.path())["files"].as_array().unwrap().len(), 3);
}

#[test]
fn nothing_is_written_if_it_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let off = Path::new("off");
    for _ in 0..2 {
        assert_eq!(generate(off, &[])["usage"]["reused_tokens"], 0);
    }
    assert!(!folder.path().join("off").exists());
    fails(
        &["cache", "list", "--prompt-cache", "off"],
        &["the prompt cache is off", "hint: "],
    );
}

#[test]
fn an_unusable_folder_does_not_prevent_an_answer() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let answer = generate(&file.path().join("prompts"), &[]);
    assert_eq!(answer["text"], " 3 + 4 = 7.");
    assert_eq!(std::fs::metadata(file.path()).unwrap().len(), 0);
}
