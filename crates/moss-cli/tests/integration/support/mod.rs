//! Runs the built binary.

#[cfg(unix)]
pub(crate) mod server;
#[cfg(unix)]
pub(crate) mod terminal;

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// Nearly uniform over the vocabulary: answers of more than a thousand tokens.
pub(crate) const ENDLESS: [&str; 8] = [
    "--seed",
    "1",
    "--temperature",
    "1000",
    "--top-k",
    "0",
    "--top-p",
    "1",
];

/// The path of a fixture, as an argument.
pub(crate) fn fixture(name: &str) -> String {
    moss_testing::fixture(name).display().to_string()
}

/// The folder of the fp16 demo model, as an argument.
pub(crate) fn demo() -> String {
    moss_testing::demo("moss-demo").display().to_string()
}

/// A cache that all tests share: the demo model is unpacked into it once.
pub(crate) fn shared_cache() -> PathBuf {
    env::temp_dir().join("moss-cli-tests")
}

/// The binary with pipes for stdin, stdout and stderr, in a folder that is also its home.
pub(crate) fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moss-cli"));
    command
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("XDG_CACHE_HOME", shared_cache())
        .env("MOSS_PROMPT_CACHE", "off") // what a test computes depends on it alone
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a command with this input.
pub(crate) fn output(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.spawn().unwrap();
    // A process that fails early closes its stdin.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Runs the binary in a folder.
pub(crate) fn moss(folder: &Path, args: &[&str], input: &[u8]) -> Output {
    output(command(folder, args), input)
}

pub(crate) fn run(args: &[&str], input: impl AsRef<[u8]>) -> Output {
    moss(&env::temp_dir(), args, input.as_ref())
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Returns the stdout of a run that must succeed.
#[track_caller]
pub(crate) fn ok(args: &[&str], input: &str) -> String {
    let out = run(args, input);
    assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
    text(&out.stdout)
}

/// Returns the stdout of a run that must succeed, as JSON.
#[track_caller]
pub(crate) fn ok_json(args: &[&str]) -> Value {
    serde_json::from_str(&ok(args, "")).unwrap()
}

/// Checks that a run ends with status 1 and that its stderr contains each of `parts`. Returns
/// stderr.
#[track_caller]
pub(crate) fn fails(args: &[&str], parts: &[&str]) -> String {
    let out = run(args, "");
    let stderr = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{args:?}: {stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    stderr
}

/// Sends a signal, such as `-TERM`.
#[cfg(unix)]
pub(crate) fn signal(child: &std::process::Child, signal: &str) {
    let id = child.id().to_string();
    let status = Command::new("kill").args([signal, &id]).status();
    assert!(status.unwrap().success());
}
