//! `serve`: what it refuses to do, and how it ends.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command},
    thread::JoinHandle,
};

use serde_json::{Value, json};
use support::{command, run, text};

/// A server on any port, that port once it is ready, and what it writes to stderr from then on.
fn serve(args: &[&str]) -> (Child, u16, JoinHandle<String>) {
    serve_with_fault(args, "")
}

/// The same with a model in which something goes wrong, in builds with debug assertions.
fn serve_with_fault(args: &[&str], fault: &str) -> (Child, u16, JoinHandle<String>) {
    let args = [&["serve", "--demo", "--port", "0", "--lang", "en"], args].concat();
    let mut child = command(&std::env::temp_dir(), &args)
        .env("MOSS_INJECT_FAULT", fault)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let (mut port, mut line) = (0, String::new());
    while !line.starts_with("ready: moss-demo") {
        if let Some(address) = line.strip_prefix("listening on http://127.0.0.1:") {
            port = address.split(' ').next().unwrap().parse().unwrap();
        }
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended");
    }
    // A full pipe would stop the server.
    let rest = std::thread::spawn(move || {
        let mut rest = String::new();
        log.read_to_string(&mut rest).unwrap();
        rest
    });
    (child, port, rest)
}

fn ask(port: u16, key: &str, body: &str) -> TcpStream {
    post(port, "/v1/completions", key, body)
}

fn post(port: u16, path: &str, key: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!("POST {path} HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json");
    write!(
        stream,
        "{head}\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    stream
}

#[test]
fn sigterm_lets_a_running_answer_finish_and_is_a_success() {
    let (mut child, port, _) = serve(&[]);
    let mut stream = ask(
        port,
        "",
        r#"{"prompt": [300, 301], "max_tokens": 800, "logit_bias": {"2740": -100}, "stream": true}"#,
    );
    let mut first = [0; 400];
    stream.read_exact(&mut first).unwrap();
    assert!(
        Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.trim_end().ends_with("data: [DONE]"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Waits until a signal that was sent has come to a thread: until then the kernel would take a
/// second one for the same.
#[cfg(target_os = "linux")]
fn wait_for_delivery(process: u32) {
    let is_pending = || {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
        pending.is_some_and(|mask| mask.trim().bytes().any(|digit| digit != b'0'))
    };
    while is_pending() {
        std::thread::yield_now();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_second_signal_right_behind_the_first_ends_the_server_in_the_middle_of_an_answer() {
    for signals in [["-TERM", "-TERM"], ["-INT", "-TERM"], ["-TERM", "-INT"]] {
        let (mut child, port, _) = serve(&[]);
        let mut stream = ask(
            port,
            "",
            r#"{"prompt": [300, 301], "max_tokens": 1900, "logit_bias": {"2740": -100, "2700": -100}, "stream": true}"#,
        );
        stream.read_exact(&mut [0; 400]).unwrap();
        for signal in signals {
            assert!(
                Command::new("kill")
                    .args([signal, &child.id().to_string()])
                    .status()
                    .unwrap()
                    .success()
            );
            wait_for_delivery(child.id());
        }
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert!(
            !String::from_utf8_lossy(&rest).contains("[DONE]"),
            "the answer was not waited for"
        );
    }
}

/// Whether a stream of an answer that is running when the signal comes ends with `[DONE]`, and the
/// exit status.
#[cfg(target_os = "linux")]
fn signalled(mut child: Child, port: u16, signal: &str, tokens: usize) -> (String, Option<i32>) {
    let body = format!(
        r#"{{"prompt": [300, 301], "max_tokens": {tokens}, "logit_bias": {{"2740": -100, "2700": -100}}, "stream": true}}"#
    );
    let mut stream = ask(port, "", &body);
    stream.read_exact(&mut [0; 400]).unwrap();
    let process = child.id().to_string();
    let kill = |signal: &str| Command::new("kill").args([signal, &process]).status();
    for _ in 0..2 {
        assert!(kill(signal).unwrap().success()); // the kernel's and the shell's
        wait_for_delivery(child.id());
    }
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    (rest, child.wait().unwrap().code())
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_that_closes_stops_serve_as_sigterm_does() {
    let (child, port, _) = serve(&[]);
    let (rest, status) = signalled(child, port, "-HUP", 800);
    assert!(rest.trim_end().ends_with("data: [DONE]"), "{rest}");
    assert_eq!(status, Some(0));
    // An answer that takes longer than it is given ends with an error event.
    let (child, port, _) = serve(&["--drain-time", "0"]);
    let (rest, status) = signalled(child, port, "-HUP", 1900);
    assert!(
        rest.contains("shutting_down") && !rest.contains("[DONE]"),
        "{rest}"
    );
    assert_eq!(status, Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn under_nohup_serve_goes_on_after_the_terminal_closes() {
    let mut serve = Command::new("sh");
    let script = format!(
        "trap '' HUP; exec '{}' serve --demo --port 0 --lang en",
        env!("CARGO_BIN_EXE_moss-cli")
    );
    let cache = std::env::temp_dir().join("moss-cli-tests");
    serve.args(["-c", &script]).env("XDG_CACHE_HOME", cache);
    let mut child = serve
        .stderr(std::process::Stdio::piped())
        .stdin(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(
        lines
            .map_while(Result::ok)
            .any(|line| line.starts_with("ready: "))
    );
    let process = child.id().to_string();
    let kill = |signal: &str| Command::new("kill").args([signal, &process]).status();
    kill("-HUP").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "it goes on");
    kill("-TERM").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn values_of_flags_that_would_match_nothing_are_refused_with_a_hint() {
    for (args, hint) in [
        (
            ["--cors-origin", "https://Chat.example/"],
            "`https://chat.example`",
        ),
        (
            ["--allow-host", "moss.example:8888"],
            "without scheme, port",
        ),
    ] {
        let out = run(
            &[&["serve", "--demo", "--port", "0"][..], &args].concat(),
            "",
        );
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(1));
        assert!(said.contains("hint: ") && said.contains(hint), "{said}");
    }
}

#[test]
fn loopback_written_as_an_ipv6_address_is_loopback() {
    let args = [
        "serve",
        "--demo",
        "--port",
        "0",
        "--lang",
        "en",
        "--host",
        "::ffff:127.0.0.1",
    ];
    let mut child = command(&std::env::temp_dir(), &args).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = String::new();
    let is_ready = lines.map_while(Result::ok).any(|line| {
        said += &format!("{line}\n");
        line.starts_with("ready: ")
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        is_ready && said.contains("listening on http://127.0.0.1:"),
        "{said}"
    );
}

#[test]
fn listening_beyond_this_machine_without_a_key_is_refused() {
    let out = run(&["serve", "--demo", "--host", "0.0.0.0", "--port", "0"], "");
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1));
    assert!(
        said.contains("there is no key") && said.contains("hint: ") && said.contains("--no-key"),
        "{said}"
    );
}

#[test]
fn keys_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, "\nsecret-one\nsecret-two\n").unwrap();
    let (mut child, port, _) = serve(&["--api-key-file", file.to_str().unwrap()]);
    let status = |key: &str| {
        let mut answer = String::new();
        ask(port, key, r#"{"prompt": "Hello", "max_tokens": 1}"#)
            .read_to_string(&mut answer)
            .unwrap();
        answer[9..12].to_owned()
    };
    assert_eq!(
        ["secret-one", "secret-two", "secret", ""].map(status),
        ["200", "200", "401", "401"]
    );
    child.kill().unwrap();
    child.wait().unwrap();
    // As a Windows editor writes it.
    let file = support::fixture("encodings/api-key-file-bom-crlf.txt");
    let (mut child, port, _) = serve(&["--api-key-file", &file]);
    let status = |key: &str| {
        let mut answer = String::new();
        let body = "\u{feff}{\"prompt\": \"Hello\", \"max_tokens\": 1}";
        ask(port, key, body).read_to_string(&mut answer).unwrap();
        answer[9..12].to_owned()
    };
    assert_eq!(
        ["secret-one", "secret-two", "\u{feff}secret-one"].map(status),
        ["200", "200", "401"]
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, "\n").unwrap();
    let out = run(
        &["serve", "--demo", "--api-key-file", file.to_str().unwrap()],
        "",
    );
    assert!(text(&out.stderr).contains("holds no key"));
}

#[test]
fn prompts_are_in_the_log_only_where_asked_for() {
    for (args, expected) in [(vec!["-vv"], false), (vec!["-vv", "--log-prompts"], true)] {
        let (mut child, port, log) = serve(&args);
        let mut answer = String::new();
        let body = r#"{"prompt": "zebrafish", "max_tokens": 2}"#;
        ask(port, "", body).read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
        child.kill().unwrap();
        child.wait().unwrap();
        let log = log.join().unwrap();
        assert!(log.contains("answered"), "{log}");
        assert_eq!(log.contains("zebrafish"), expected, "{log}");
    }
}

#[test]
fn a_port_that_is_taken_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let out = run(&["serve", "--demo", "--port", &port], "");
    assert!(
        text(&out.stderr).contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{}",
        text(&out.stderr)
    );
    assert_eq!(out.status.code(), Some(1));
}

/// Status of a probe.
#[cfg(debug_assertions)]
fn probe(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer[9..12].to_owned()
}

#[test]
#[cfg(debug_assertions)]
fn a_fault_that_ends_the_engine_is_told_on_health_and_ready_and_ends_serve_with_status_70() {
    for (fault, reason) in [
        (
            "panic:3",
            "the engine stopped after an internal error: injected panic",
        ),
        ("lost:3", "CUDA_ERROR_ILLEGAL_ADDRESS"),
        ("stall:3", "the model made no progress"),
    ] {
        let (mut child, port, log) = serve_with_fault(&[], fault);
        assert_eq!(
            ["/health", "/ready"].map(|path| probe(port, path)),
            ["200", "200"],
            "{fault}"
        );
        let mut answer = String::new();
        let body = r#"{"prompt": [300, 301], "max_tokens": 900, "logit_bias": {"2740": -100}, "stream": true}"#;
        ask(port, "", body).read_to_string(&mut answer).unwrap();
        assert!(
            answer.contains("engine_failed") && !answer.contains("[DONE]"),
            "{fault}: {answer}"
        );
        assert_eq!(
            ["/health", "/ready"].map(|path| probe(port, path)),
            ["503", "503"],
            "{fault}"
        );
        assert_eq!(child.wait().unwrap().code(), Some(70), "{fault}");
        let log = log.join().unwrap();
        assert!(
            log.contains("error: the engine has failed") && log.contains(reason),
            "{fault}: {log}"
        );
    }
}

/// What a server says until it is ready, and the server.
fn announced(args: &[&str], environment: &[(&str, &str)]) -> (Child, Vec<String>) {
    let args = [&["serve", "--demo", "--port", "0"], args].concat();
    let mut child = command(&std::env::temp_dir(), &args)
        .envs(environment.iter().copied())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let lines = lines
        .take_while(|line| !line.starts_with("ready: ") && !line.starts_with("已就绪"))
        .collect();
    (child, lines)
}

/// The status of a request to `url`, as a browser would send it.
fn status_of(url: &str) -> String {
    let authority = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(authority).unwrap();
    write!(stream, "GET /health HTTP/1.0\r\nhost: {authority}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer[9..12].to_owned()
}

#[test]
fn every_url_that_serve_prints_answers() {
    let has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    let mut hosts = vec![
        ("127.0.0.1", false),
        ("127.0.0.1", true),
        ("0.0.0.0", true),
        ("0.0.0.0", false),
    ];
    if cfg!(target_os = "linux") {
        hosts.push(("127.0.0.2", false)); // the whole network is loopback
    }
    if has_ipv6 {
        hosts.extend([("::1", false), ("::", true)]);
    }
    for (host, has_name) in hosts {
        let name: &[&str] = if has_name {
            &["--allow-host", "localhost"]
        } else {
            &[]
        };
        let (mut child, lines) = announced(
            &[&["--host", host, "--no-key", "--lang", "en"], name].concat(),
            &[],
        );
        let urls = lines
            .iter()
            .filter_map(|line| line.strip_prefix("listening on "));
        let urls: Vec<_> = urls.map(|line| line.split(' ').next().unwrap()).collect();
        assert!(!urls.is_empty(), "{lines:?}");
        for url in urls {
            assert!(
                !url.contains("//0.0.0.0") && !url.contains("[::]"),
                "{lines:?}"
            );
            assert_eq!(status_of(url), "200", "{url} of {lines:?}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn serve_prints_the_ssh_command_on_loopback_and_the_state_of_the_key_in_both_languages() {
    let session = [
        ("USER", "me"),
        ("SSH_CONNECTION", "192.0.2.1 5000 192.0.2.7 2222"),
    ];
    for (language, needed, not_needed) in [
        ("en", "API key: required", "API key: not required"),
        ("zh", "API 密钥：需要", "API 密钥：不需要"),
    ] {
        let cases: [(&[&str], &str, bool); 3] = [
            (&[], not_needed, true),
            (&["--api-key", "secret"], needed, true),
            (&["--host", "0.0.0.0", "--api-key", "secret"], needed, false),
        ];
        for (args, key, has_tunnel) in cases {
            let (mut child, lines) = announced(&[args, &["--lang", language]].concat(), &session);
            child.kill().unwrap();
            child.wait().unwrap();
            let said = lines.join("\n");
            let port = said.split_once("http://127.0.0.1:").unwrap().1;
            let port: String = port.chars().take_while(char::is_ascii_digit).collect();
            let command = format!("`ssh -L {port}:127.0.0.1:{port} -p 2222 me@192.0.2.7`");
            assert!(said.contains(key) && !said.contains("secret"), "{said}");
            assert_eq!(said.contains(&command), has_tunnel, "{said}");
        }
    }
}

#[test]
fn an_unknown_field_is_told_once_in_the_log_and_refused_by_a_strict_server() {
    for (args, expected, told) in [
        (vec![], "HTTP/1.0 200", 1),
        (vec!["--strict"], "HTTP/1.0 400", 0),
    ] {
        let (mut child, port, log) = serve(&args);
        for _ in 0..2 {
            let mut answer = String::new();
            let body = r#"{"prompt": "Hello", "max_tokens": 1, "zebrafish\u001b[31m": true}"#;
            ask(port, "", body).read_to_string(&mut answer).unwrap();
            assert!(
                answer.starts_with(expected) && answer.contains("zebrafish"),
                "{answer}"
            );
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let log = log.join().unwrap();
        assert_eq!(log.matches("zebrafish").count(), told, "{log}");
        assert!(
            !log.contains("zebrafish\u{1b}"),
            "control characters are escaped: {log}"
        );
    }
}

#[test]
fn generate_and_serve_count_one_answer_alike() {
    let question = "推荐五部科幻电影";
    let args = [
        "--demo",
        "--temperature",
        "0",
        "generate",
        "--json",
        question,
    ];
    let generated: Value = serde_json::from_str(&support::ok(&args, "")).unwrap();
    let (mut child, port, _) = serve(&[]);
    let body = json!({"messages": [{"role": "user", "content": question}], "temperature": 0});
    let mut reply = String::new();
    post(port, "/v1/chat/completions", "", &body.to_string())
        .read_to_string(&mut reply)
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let (_, served) = reply.split_once("\r\n\r\n").unwrap();
    let served: Value = serde_json::from_str(served).unwrap();
    let (ours, theirs) = (&generated["usage"], &served["usage"]);
    assert_eq!(ours["prompt_tokens"], theirs["prompt_tokens"]);
    assert_eq!(ours["generated_tokens"], theirs["completion_tokens"]);
    assert_eq!(
        generated["text"].as_str().unwrap().trim_start(),
        served["choices"][0]["message"]["content"].as_str().unwrap()
    );
}
