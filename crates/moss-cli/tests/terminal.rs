//! The chat at a terminal: keys in, screen out.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod support;

use std::{path::Path, process::Command};

use rexpect::session::{PtySession, spawn_command};

const WELCOME: &str =
    "欢迎使用 MOSS 人工智能助手！输入内容即可进行对话。输入 clear 以清空对话历史，输入 stop 以终止对话。";
const PROMPT: &str = "<|Human|>: ";
/// For an answer of the demo model, on a busy machine.
const TIMEOUT_MS: u64 = 60_000;

/// A chat at a terminal of its own, at its first prompt.
fn chat(home: &Path, args: &[&str]) -> PtySession {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moss-cli"));
    command
        .args(["--demo", "--lang", "en"])
        .args(args)
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm")
        .env("XDG_CACHE_HOME", std::env::temp_dir().join("moss-cli-tests"));
    let mut session = spawn_command(command, Some(TIMEOUT_MS)).unwrap();
    see(&mut session, WELCOME);
    see(&mut session, PROMPT);
    session
}

/// Waits until the screen shows `text`.
fn see(session: &mut PtySession, text: &str) {
    let bytes: String = text.bytes().map(char::from).collect(); // the session reads bytes, not UTF-8
    if let Err(error) = session.exp_string(&bytes) {
        panic!("`{text}` was not seen: {error}");
    }
}

/// The keys of a whole line: Enter is a carriage return.
fn line(session: &mut PtySession, text: &str) {
    session.send(&format!("{text}\r")).unwrap();
    session.flush().unwrap();
}

/// The end of the session, which must be an exit with this status.
fn assert_exits(session: &mut PtySession, status: u8) {
    session.exp_eof().unwrap();
    let found = format!("{:?}", session.process_mut().wait().unwrap()); // its type has no public path
    assert!(found.starts_with("Exited(") && found.ends_with(&format!(", {status})")), "{found}");
}

#[test]
fn chinese_is_typed_corrected_and_answered_and_stop_leaves() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &["--temperature", "0"]);
    line(&mut session, "你们\u{7f}好"); // backspace takes a whole character
    see(&mut session, "你好！我是");
    see(&mut session, PROMPT);
    line(&mut session, " stop ");
    assert_exits(&mut session, 0);
    let history = home.path().join(".local/share/moss-rs/history");
    if cfg!(target_os = "linux") {
        assert!(std::fs::read_to_string(history).unwrap().contains("你好"), "history is kept");
    }
}

#[test]
fn clear_wipes_screen_and_history() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &["--temperature", "0"]);
    line(&mut session, "Who are you?");
    see(&mut session, "demo model");
    see(&mut session, PROMPT);
    line(&mut session, "clear");
    see(&mut session, "\u{1b}[2J");
    line(&mut session, "/stats");
    see(&mut session, "window: 0 of 2048 tokens, 0 turn(s)");
    session.send_control('d').unwrap();
    assert_exits(&mut session, 0);
}

#[test]
fn ctrl_c_stops_an_answer_and_twice_at_the_prompt_leaves() {
    let home = tempfile::tempdir().unwrap();
    // Nearly uniform over the vocabulary: an answer of a thousand tokens and more.
    let mut session =
        chat(home.path(), &["--seed", "1", "--temperature", "1000", "--top-k", "0", "--top-p", "1"]);
    line(&mut session, "讲个故事");
    see(&mut session, "reading the prompt");
    session.send_control('c').unwrap();
    see(&mut session, "(stopped)");
    see(&mut session, PROMPT);
    line(&mut session, "/stats");
    see(&mut session, "1 turn(s)");
    see(&mut session, PROMPT);
    session.send_control('c').unwrap();
    see(&mut session, "Ctrl-C once more leaves");
    see(&mut session, PROMPT);
    session.send_control('c').unwrap();
    assert_exits(&mut session, 130);
}

#[test]
fn tab_completes_commands_and_ctrl_c_drops_a_message_of_several_lines() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &["--temperature", "0"]);
    line(&mut session, "/mu\t");
    see(&mut session, "a dot alone");
    see(&mut session, "... ");
    line(&mut session, "first");
    see(&mut session, "... ");
    session.send_control('c').unwrap();
    see(&mut session, "the message was dropped");
    see(&mut session, PROMPT);
    line(&mut session, "/st\t");
    see(&mut session, "0 turn(s)");
}
