//! A chat at a pseudo-terminal.

use std::{path::Path, process::Command};

use rexpect::session::{PtySession, spawn_command};

pub(crate) const WELCOME: &str = "欢迎使用 MOSS 人工智能助手！输入内容即可进行对话。输入 clear 以清空对话历史，输入 stop 以终止对话。";
pub(crate) const PROMPT: &str = "<|Human|>: ";
/// Enough for an answer of the demo model on a busy machine.
pub(crate) const TIMEOUT_MS: u64 = 180_000;

/// Starts a chat at a new terminal.
pub(crate) fn start(home: &Path, args: &[&str], environment: &[(&str, &str)]) -> PtySession {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moss-cli"));
    command.args(["--demo", "--lang", "en"]).args(args);
    spawn(command, home, environment)
}

/// Starts a program at a new terminal.
pub(crate) fn spawn(mut command: Command, home: &Path, environment: &[(&str, &str)]) -> PtySession {
    command
        .current_dir(home)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm")
        .env("XDG_CACHE_HOME", super::shared_cache())
        .env("MOSS_PROMPT_CACHE", "off")
        .envs(environment.iter().copied());
    spawn_command(command, Some(TIMEOUT_MS)).unwrap()
}

/// Starts a chat and waits for its first prompt.
pub(crate) fn chat(home: &Path, args: &[&str]) -> PtySession {
    let mut session = start(home, args, &[]);
    see(&mut session, WELCOME);
    see(&mut session, PROMPT);
    session
}

/// Waits until the screen shows `text`.
pub(crate) fn see(session: &mut PtySession, text: &str) {
    // The session decodes bytes as Latin-1.
    let bytes: String = text.bytes().map(char::from).collect();
    if let Err(error) = session.exp_string(&bytes) {
        panic!("`{text}` did not appear: {error}");
    }
}

/// Types keys, in one write.
pub(crate) fn keys(session: &mut PtySession, text: &str) {
    let mut rest = text;
    while !rest.is_empty() {
        let written = session.send(rest).unwrap();
        rest = &rest[written..];
    }
    session.flush().unwrap();
}

/// Waits until the chat has read a line. From then on, Ctrl-C is a signal, and the answer starts.
pub(crate) fn see_line_taken(session: &mut PtySession) {
    // The line editor disables bracketed paste, and the chat enables it again once it reads the
    // input itself.
    see(session, "\u{1b}[?2004l");
    see(session, "\u{1b}[?2004h");
}

/// Types a line and Enter, which is a carriage return.
pub(crate) fn line(session: &mut PtySession, text: &str) {
    keys(session, &format!("{text}\r"));
}

/// Waits for the end of the session, which must be an exit with this status.
pub(crate) fn assert_exits(session: &mut PtySession, status: u8) {
    session.exp_eof().unwrap();
    // The type of the status is not public.
    let found = format!("{:?}", session.process_mut().wait().unwrap());
    assert!(
        found.starts_with("Exited(") && found.ends_with(&format!(", {status})")),
        "{found}"
    );
}
