//! Text as written on Windows: byte order marks, CRLF, UTF-16.

use std::fs;

use moss_testing::{copy_of, demo, fixture, utf16};

use crate::support::{moss, ok, run, text};

fn case(name: &str) -> Vec<u8> {
    fs::read(fixture("encodings").join(name)).unwrap()
}

fn windows(text: &str) -> String {
    format!("\u{feff}{}", text.replace('\n', "\r\n"))
}

#[test]
fn a_byte_order_mark_before_a_command_of_a_piped_chat_is_skipped() {
    let out = run(&["--demo", "--lang", "en"], case("stdin-bom-stop.txt"));
    assert!(
        out.status.success() && out.stdout.is_empty(),
        "{}",
        text(&out.stdout)
    );
    let greedy = ["--demo", "--temperature", "0"];
    assert_eq!(
        ok(&greedy, &windows("你好\nWho are you?\n")),
        ok(&greedy, "你好\nWho are you?\n")
    );
}

#[test]
fn a_message_on_stdin_may_have_a_byte_order_mark_and_crlf() {
    let greedy = ["generate", "--demo", "--temperature", "0"];
    let message = "Who are you?\nTell me.\n";
    assert_eq!(ok(&greedy, &windows(message)), ok(&greedy, message));
    let json = "{\"text\": \"你好\"}\n{\"ids\": [1]}\n";
    assert_eq!(
        ok(&["tokenize", "--demo"], &windows(json)),
        ok(&["tokenize", "--demo"], json)
    );
}

#[test]
fn utf16_on_stdin_is_named_with_and_without_a_mark() {
    for args in [
        &["--demo", "--lang", "en"][..],
        &["generate", "--demo"],
        &["tokenize", "--demo"],
    ] {
        for input in [
            "Who are you?\nstop\n",
            "\u{feff}{\"text\": \"Who\"}\n",
            "你好\n世界\n",
        ] {
            if args[0] == "tokenize" && input.starts_with('你') {
                continue; // JSON lines begin with ASCII characters
            }
            let out = run(args, utf16(input));
            let said = text(&out.stderr);
            assert_eq!(out.status.code(), Some(1), "{args:?}: {said}");
            assert!(
                said.contains("encoded as UTF-16LE, expected UTF-8"),
                "{said}"
            );
            assert!(
                said.contains("hint: convert it: `iconv -f UTF-16LE -t UTF-8`"),
                "{said}"
            );
            assert!(out.stdout.is_empty(), "nothing is made of it");
        }
    }
    let said = text(
        &run(
            &["generate", "--demo", "--lang", "zh"],
            utf16("Who are you?"),
        )
        .stderr,
    );
    assert!(said.contains("文本的编码为 UTF-16LE"), "{said}");
}

#[test]
fn a_saved_chat_that_was_edited_on_windows_is_loaded_and_utf16_is_named() {
    let folder = tempfile::tempdir().unwrap();
    moss(folder.path(), &["--demo"], b"Hi\n/save a.json\n");
    let file = folder.path().join("a.json");
    let saved = fs::read_to_string(&file).unwrap();
    fs::write(&file, windows(&saved)).unwrap();
    fs::write(folder.path().join("b.json"), utf16(&saved)).unwrap();
    let out = moss(
        folder.path(),
        &["--demo", "--lang", "en"],
        b"/load a.json\n/load b.json\n",
    );
    let said = text(&out.stderr);
    assert!(
        said.contains("(1 turn(s))") && said.contains("UTF-16LE"),
        "{said}"
    );
}

#[test]
fn texts_to_measure_may_have_a_byte_order_mark_and_crlf() {
    let folder = tempfile::tempdir().unwrap();
    let measure = |name: &str, text: &[u8]| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap().to_owned();
        run(
            &[
                "eval",
                "--demo",
                "--perplexity",
                &file,
                "--window",
                "64",
                "--json",
            ],
            "",
        )
    };
    let lines = "{\"text\": \"Who are you? I am a model.\"}\n{\"text\": \"你好！请问我一些简单的问题。\"}\n";
    for (name, content) in [
        ("a.jsonl", lines),
        ("a.txt", "Who are you?\nI am a small model.\n你好\n"),
    ] {
        let plain = measure(name, content.as_bytes());
        assert!(plain.status.success(), "{}", text(&plain.stderr));
        assert_eq!(
            text(&measure(name, windows(content).as_bytes()).stdout),
            text(&plain.stdout),
            "{name}"
        );
        let wide = measure(name, &utf16(content));
        assert!(
            text(&wide.stderr).contains("UTF-16LE"),
            "{}",
            text(&wide.stderr)
        );
    }
}

#[test]
fn a_config_that_was_edited_on_windows_is_read_and_utf16_is_named() {
    let folder = copy_of(demo("moss-demo-int4"));
    let (config, model) = (
        folder.path().join("config.json"),
        folder.path().to_str().unwrap(),
    );
    let written = fs::read_to_string(&config).unwrap();
    fs::write(&config, windows(&written)).unwrap();
    let greedy = ["generate", "Hi", "--temperature", "0", "--lang", "en"];
    assert_eq!(
        ok(&[&greedy[..], &["--model", model]].concat(), ""),
        ok(&[&greedy[..], &["--demo"]].concat(), "")
    );
    fs::write(&config, utf16(&written)).unwrap();
    let said = text(&run(&[&greedy[..], &["--model", model]].concat(), "").stderr);
    assert!(
        said.contains("config.json") && said.contains("UTF-16LE"),
        "{said}"
    );
}

#[test]
fn a_file_of_keys_in_utf16_is_named_instead_of_matching_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, utf16("secret-one\r\nsecret-two\r\n")).unwrap();
    let out = run(
        &[
            "serve",
            "--demo",
            "--port",
            "0",
            "--api-key-file",
            file.to_str().unwrap(),
        ],
        "",
    );
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stderr).contains("UTF-16LE"),
        "{}",
        text(&out.stderr)
    );
}
