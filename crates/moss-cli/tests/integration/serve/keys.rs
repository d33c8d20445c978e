//! API keys from files, and their reload.

use std::{
    fs,
    io::Read,
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use moss_testing::{
    http::{Client, JSON},
    wait_until,
};
use serde_json::json;
use tempfile::TempDir;

use super::TEXT;
use crate::support::{
    command, fails, fixture, run,
    server::ServerProcess,
    terminal::{see, spawn},
    text,
};

/// A folder with a key file that only its owner can read.
struct KeyFile {
    folder: TempDir,
    path: PathBuf,
}

impl KeyFile {
    fn new(keys: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        fs::write(&path, keys).unwrap();
        set_mode(&path, 0o600);
        Self { folder, path }
    }

    fn arg(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns the status of a request with a key.
fn status(client: &Client, key: &str) -> u16 {
    let key = format!("Bearer {key}");
    client
        .send("GET", "/v1/models", &[("authorization", &key)], b"")
        .status
}

#[test]
fn keys_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "\nsecret-one\nsecret-two\n").unwrap();
    let statuses = |file: &str, keys: &[&str], body: &str| -> Vec<u16> {
        let server = ServerProcess::demo(&["--api-key-file", file]);
        let status = |key: &&str| {
            let key = format!("Bearer {key}");
            let headers = [JSON, ("authorization", &key)];
            let client = server.client();
            client.send("POST", TEXT, &headers, body.as_bytes()).status
        };
        keys.iter().map(status).collect()
    };
    let body = r#"{"prompt": "Hello", "max_tokens": 1}"#;
    let keys = ["secret-one", "secret-two", "secret", ""];
    assert_eq!(statuses(path, &keys, body), [200, 200, 401, 401]);
    // The file and the body with byte order marks, as written on Windows.
    let windows = fixture("encodings/api-key-file-bom-crlf.txt");
    let keys = ["secret-one", "secret-two", "\u{feff}secret-one"];
    let marked = format!("\u{feff}{body}");
    assert_eq!(statuses(&windows, &keys, &marked), [200, 200, 401]);
    std::fs::write(&file, "\n").unwrap();
    let out = run(&["serve", "--demo", "--api-key-file", path], "");
    assert!(text(&out.stderr).contains("contains no API key"));
}

#[test]
fn several_files_have_one_list_of_keys_and_errors_name_file_and_line() {
    let first = KeyFile::new("# 第一组\nalice secret-one\n\n小红 secret-two\n");
    let second = KeyFile::new("secret-three\n");
    let files = [
        "--api-key-file",
        first.arg(),
        "--api-key-file",
        second.arg(),
    ];
    let server = ServerProcess::demo(&[&files[..], &["--api-key", "secret-two"]].concat());
    let client = server.client();
    let keys = ["secret-one", "secret-two", "secret-three", "alice"];
    assert_eq!(keys.map(|key| status(&client, key)), [200, 200, 200, 401]);
    assert!(!server.start.contains("warning"), "{}", server.start);
    drop(server);
    for (text, expected) in [
        ("bob secret-four\na b c\n", "line 2 has 3 words"),
        ("bob secret-one\n", "line 1 has a key that is known already"),
        ("bob x\nbob y\n", "line 2 has the same name as line 1"),
        ("# none yet\n", "contains no API key"),
    ] {
        fs::write(&second.path, text).unwrap();
        let args = [&["serve", "--demo", "--lang", "en"][..], &files].concat();
        let stderr = fails(&args, &[expected, second.arg()]);
        assert!(!stderr.contains("secret"), "{stderr}");
    }
}

#[test]
fn a_key_file_that_everyone_can_read_is_reported_in_both_languages() {
    let file = KeyFile::new("alice secret\n");
    set_mode(&file.path, 0o644);
    for (language, expected) in [
        ("en", "all users of this machine"),
        ("zh", "本机的所有用户"),
    ] {
        let args = ["serve", "--demo", "--port", "0", "--lang", language];
        let args = [&args[..], &["--api-key-file", file.arg()]].concat();
        let server = ServerProcess::start(command(&std::env::temp_dir(), &args));
        assert!(server.start.contains(expected), "{}", server.start);
        assert!(server.start.contains("chmod 600"), "{}", server.start);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn sighup_reloads_keys_and_a_broken_file_keeps_the_former_ones() {
    let file = KeyFile::new("alice secret-one\n小红 secret-two\n");
    let server = ServerProcess::slow_demo(&["--api-key-file", file.arg()]);
    let client = server.client();
    let body = json!({
        "prompt": [300, 301],
        "max_tokens": 600,
        "logit_bias": {"2740": -100, "2700": -100},
        "stream": true,
    });
    let headers = [JSON, ("authorization", "Bearer secret-one")];
    let mut stream = client.open("POST", TEXT, &headers, body.to_string().as_bytes());
    stream.read_exact(&mut [0; 400]).unwrap();
    fs::write(&file.path, "鲍勃 secret-three\n小红 secret-two\n").unwrap();
    server.signal("-HUP");
    wait_until("the new key", || status(&client, "secret-three") == 200);
    assert_eq!(
        ["secret-one", "secret-two"].map(|key| status(&client, key)),
        [401, 200]
    );
    // Neither a broken nor an empty file changes anything.
    for (text, logged) in [
        ("鲍勃 secret-four extra\n", "line 1 has 3 words"),
        ("", "contains no API key"),
    ] {
        fs::write(&file.path, text).unwrap();
        server.signal("-HUP");
        server.wait_for_log(logged);
        assert_eq!(
            ["secret-three", "secret-four"].map(|key| status(&client, key)),
            [200, 401]
        );
    }
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.trim_end().ends_with("data: [DONE]"), "{rest}");
    server.signal("-TERM");
    let (exit, log) = server.wait();
    assert_eq!(exit.code(), Some(0), "{log}");
    assert!(
        log.contains("key=\"alice\"") && log.contains("key=\"鲍勃\""),
        "{log}"
    );
    assert!(!log.contains("secret"), "{log}");
}

#[test]
#[cfg(target_os = "linux")]
fn sighup_reloads_at_a_terminal_and_stops_when_the_terminal_has_closed() {
    let file = KeyFile::new("alice secret-one\n");
    let program = env!("CARGO_BIN_EXE_moss-cli");
    let mut command = Command::new("sh");
    let script = format!(
        "'{program}' serve --demo --port 0 --lang en --api-key-file '{}' & echo \"pid=$!=\"; wait",
        file.arg()
    );
    command.args(["-c", &script]);
    let mut session = spawn(command, file.folder.path(), &[]);
    see(&mut session, "pid=");
    let id = session.exp_string("=").unwrap();
    see(&mut session, "http://127.0.0.1:");
    let port: u16 = session.exp_string(" ").unwrap().parse().unwrap();
    see(&mut session, "ready: ");
    let client = Client::local(port);
    fs::write(&file.path, "alice secret-two\n").unwrap();
    let sent = Command::new("kill").args(["-HUP", &id]).status().unwrap();
    assert!(sent.success());
    wait_until("the new key", || status(&client, "secret-two") == 200);
    drop(session); // ends the shell and closes the terminal, as an SSH client does
    wait_until("the end of the server", || {
        TcpStream::connect(client.address).is_err()
    });
}
