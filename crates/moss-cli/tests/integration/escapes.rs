//! Control characters from files, models, requests and arguments are escaped at terminals and in
//! logs.

use std::{fs, io::Read, path::Path, process::Command};

use moss_testing::fixture;
use serde_json::{Value, json};

use crate::support::{
    moss, ok, run, server::ServerProcess, shared_cache, terminal::TIMEOUT_MS, text,
};

const HOSTILE: &str = "evil\x1b[2J\x07\r\nerror: fake\u{9b}31m\u{7f}\u{202e}gnp";

fn assert_clean(shown: &str) {
    let hostile =
        |c: &char| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c);
    let found: Vec<_> = shown.chars().filter(hostile).collect();
    assert!(found.is_empty(), "{found:?} in {shown:?}");
    assert!(
        !shown.lines().any(|line| line.starts_with("error: fake")),
        "{shown:?}"
    );
}

/// Writes a checkpoint with a tensor of this name.
fn hostile_checkpoint(folder: &Path, name: &str) {
    for file in ["config.json", "model.safetensors"] {
        fs::copy(
            fixture("mini-fp16-safetensors").join(file),
            folder.join(file),
        )
        .unwrap();
    }
    let file = folder.join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let (data, extra) = (&bytes[8 + length..], [0u8; 8]);
    header[name] = json!({"dtype": "F32", "shape": [2], "data_offsets": [data.len(), data.len() + extra.len()]});
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = (header.len() as u64).to_le_bytes();
    fs::write(&file, [&length[..], &header, data, &extra].concat()).unwrap();
}

#[test]
fn names_of_tensors_are_escaped_in_tables_warnings_and_json() {
    let folder = tempfile::tempdir().unwrap();
    hostile_checkpoint(folder.path(), HOSTILE);
    let path = folder.path().to_str().unwrap();
    for language in ["en", "zh"] {
        let out = run(
            &["inspect", path, "--tensors", "--check", "--lang", language],
            "",
        );
        let shown = text(&out.stdout) + &text(&out.stderr);
        assert_clean(&shown);
        assert!(
            shown.contains("evil\\u{1b}[2J\\u{7}\\r\\nerror: fake\\u{9b}31m"),
            "{shown}"
        );
    }
    let document = text(&run(&["inspect", path, "--tensors", "--json"], "").stdout);
    assert_clean(&document);
    let document: Value = serde_json::from_str(&document).unwrap();
    assert!(
        document["tensor_list"]
            .as_array()
            .unwrap()
            .iter()
            .any(|tensor| tensor["name"] == HOSTILE)
    );
    let out = run(
        &[
            "generate",
            "--model",
            path,
            "--ids",
            "1",
            "--max-new-tokens",
            "1",
        ],
        "",
    );
    assert_clean(&(text(&out.stdout) + &text(&out.stderr)));
}

#[test]
fn arguments_are_quoted_without_what_a_terminal_would_obey() {
    for args in [
        &["--model", HOSTILE][..],
        &["--dtype", HOSTILE],
        &["--dtype", HOSTILE, "--lang", "zh"],
        &["inspect", HOSTILE],
        &["download", HOSTILE],
        &["man", HOSTILE],
        &["logits", "--demo", "--ids", "1", "--out", HOSTILE],
    ] {
        let out = moss_in_temporary(args);
        assert_clean(text(&out.stderr).replace('\n', " ").as_str());
    }
}

fn moss_in_temporary(args: &[&str]) -> std::process::Output {
    let folder = tempfile::tempdir().unwrap();
    moss(folder.path(), args, b"")
}

/// Settings with which all tokens are nearly equally likely, including those of single bytes.
const ANY_TOKEN: [&str; 9] = [
    "--demo",
    "--temperature",
    "1000",
    "--top-k",
    "0",
    "--top-p",
    "1",
    "--max-new-tokens",
    "400",
];

#[test]
fn the_models_answer_is_escaped_at_a_terminal_and_whole_in_a_pipe() {
    let is_hostile = |c: char| c.is_control() && c != '\n' && c != '\t';
    let with_seed = |seed: &str| {
        [&["generate", "Hi", "--seed", seed], &ANY_TOKEN[..]]
            .concat()
            .join("\t")
    };
    let hostile = (0..40).map(|seed| seed.to_string()).find_map(|seed| {
        let args = with_seed(&seed);
        let answer = ok(&args.split('\t').collect::<Vec<_>>(), "");
        answer.contains(is_hostile).then_some((args, answer))
    });
    let (args, answer) = hostile.expect("an answer with a control character");
    let home = tempfile::tempdir().unwrap();
    let mut at_terminal = Command::new(env!("CARGO_BIN_EXE_moss-cli"));
    at_terminal
        .args(args.split('\t'))
        .env_clear()
        .envs([
            ("HOME", home.path().to_str().unwrap()),
            ("TERM", "dumb"),
            ("LANG", "C.UTF-8"),
        ])
        .env("XDG_CACHE_HOME", shared_cache());
    let mut session = rexpect::session::spawn_command(at_terminal, Some(TIMEOUT_MS)).unwrap();
    let shown: String = session.exp_eof().unwrap();
    // The terminal adds carriage returns, and the session decodes bytes as Latin-1.
    let bytes: Vec<u8> = shown
        .replace("\r\n", "\n")
        .chars()
        .map(|c| c as u8)
        .collect();
    let shown = String::from_utf8_lossy(&bytes).into_owned();
    assert!(!shown.contains(is_hostile), "{shown:?} from {answer:?}");
    assert!(shown.contains("\\u{") || shown.contains("\\r"), "{shown:?}");
}

/// Sends hostile requests to a server. Returns its log.
fn log_of_server(args: &[&str]) -> String {
    let server = ServerProcess::demo(&[&["-vv"], args].concat());
    let model =
        json!({"model": HOSTILE, "messages": [{"role": "user", "content": "Hi"}]}).to_string();
    let field =
        json!({HOSTILE: 1, "messages": [{"role": HOSTILE, "content": HOSTILE}]}).to_string();
    let prompt = json!({"prompt": HOSTILE, "max_tokens": 1}).to_string();
    for (path, host, kind, body) in [
        (
            "/v1/chat/completions",
            "localhost",
            "application/json",
            model.as_str(),
        ),
        (
            "/v1/chat/completions",
            "localhost",
            "application/json",
            &field,
        ),
        ("/v1/completions", "localhost", "application/json", &prompt),
        (
            "/v1/completions",
            "localhost",
            "text/\u{9b}31m\u{202e}",
            "{}",
        ),
        (
            "/v1/models",
            "evil\u{9b}31m\u{202e}",
            "application/json",
            "",
        ),
        (
            "/%1b%5b2J%c2%9b31m%e2%80%ae%0aerror:%20fake",
            "localhost",
            "application/json",
            "",
        ),
    ] {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let headers = [
            ("host", host),
            ("x-request-id", "evil\u{9b}"),
            ("content-type", kind),
        ];
        let mut stream = server
            .client()
            .open(method, path, &headers, body.as_bytes());
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.0 "), "{path}");
    }
    server.start.clone() + &server.kill()
}

#[test]
fn what_requests_hold_is_escaped_in_the_log_of_either_form() {
    for args in [
        &["--log-prompts"][..],
        &["--log-prompts", "--log-format", "json"],
    ] {
        let log = log_of_server(args);
        assert_clean(&log);
        assert!(
            log.contains("request rejected") && log.contains("evil"),
            "{log}"
        );
    }
}
