//! A chat at a pseudo-terminal.

use std::{path::Path, process::Command};

use rexpect::session::{PtySession, spawn_command};

pub(crate) const WELCOME: &str = "欢迎使用 MOSS 人工智能助手！输入内容即可进行对话。输入 clear 以清空对话历史，输入 stop 以终止对话。";
pub(crate) const PROMPT: &str = "<|Human|>: ";
/// For an answer of the demo model, on a busy machine.
pub(crate) const TIMEOUT_MS: u64 = 180_000;

/// A chat at a terminal of its own, as it starts.
pub(crate) fn start(home: &Path, args: &[&str], environment: &[(&str, &str)]) -> PtySession {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moss-cli"));
    command.args(["--demo", "--lang", "en"]).args(args);
    spawn(command, home, environment)
}

/// A program at a terminal of its own.
pub(crate) fn spawn(mut command: Command, home: &Path, environment: &[(&str, &str)]) -> PtySession {
    command
        .current_dir(home)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm")
        .env(
            "XDG_CACHE_HOME",
            std::env::temp_dir().join("moss-cli-tests"),
        )
        .envs(environment.iter().copied());
    spawn_command(command, Some(TIMEOUT_MS)).unwrap()
}

/// A chat at its first prompt.
pub(crate) fn chat(home: &Path, args: &[&str]) -> PtySession {
    let mut session = start(home, args, &[]);
    see(&mut session, WELCOME);
    see(&mut session, PROMPT);
    session
}

/// Waits until the screen shows `text`.
pub(crate) fn see(session: &mut PtySession, text: &str) {
    // the session reads bytes, not UTF-8
    let bytes: String = text.bytes().map(char::from).collect();
    if let Err(error) = session.exp_string(&bytes) {
        panic!("`{text}` was not seen: {error}");
    }
}

/// Keys as they are, in one write.
pub(crate) fn keys(session: &mut PtySession, text: &str) {
    let mut rest = text;
    while !rest.is_empty() {
        let written = session.send(rest).unwrap();
        rest = &rest[written..];
    }
    session.flush().unwrap();
}

/// Waits until a line has been read: from here on Ctrl-C is a signal, and the answer is about to
/// begin.
pub(crate) fn see_line_taken(session: &mut PtySession) {
    // The line editor takes the paste markers back, and the chat asks for them again once it holds
    // the input.
    see(session, "\u{1b}[?2004l");
    see(session, "\u{1b}[?2004h");
}

/// The keys of a whole line: Enter is a carriage return.
pub(crate) fn line(session: &mut PtySession, text: &str) {
    keys(session, &format!("{text}\r"));
}

/// The end of the session, which must be an exit with this status.
pub(crate) fn assert_exits(session: &mut PtySession, status: u8) {
    session.exp_eof().unwrap();
    // its type has no public path
    let found = format!("{:?}", session.process_mut().wait().unwrap());
    assert!(
        found.starts_with("Exited(") && found.ends_with(&format!(", {status})")),
        "{found}"
    );
}
