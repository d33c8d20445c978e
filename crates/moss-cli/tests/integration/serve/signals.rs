//! Signals: SIGTERM, SIGINT, and SIGHUP of a terminal that closes.

use std::io::Read;
#[cfg(target_os = "linux")]
use std::process::Command;

use super::{rest, streaming};
use crate::support::server::ServerProcess;
#[cfg(target_os = "linux")]
use crate::support::shared_cache;

#[test]
fn sigterm_lets_a_running_answer_finish_and_is_a_success() {
    let server = ServerProcess::demo(&[]);
    let stream = streaming(&server, 800);
    server.signal("-TERM");
    let rest = rest(stream);
    assert!(rest.trim_end().ends_with("data: [DONE]"), "{rest}");
    assert_eq!(server.wait().0.code(), Some(0));
}

/// Waits until a signal was delivered to a thread. Until then, the kernel merges it with a second
/// one of the same number.
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
fn a_second_signal_right_after_the_first_ends_the_server_in_the_middle_of_an_answer() {
    for signals in [["-TERM", "-TERM"], ["-INT", "-TERM"], ["-TERM", "-INT"]] {
        let server = ServerProcess::slow_demo(&[]);
        let mut stream = streaming(&server, 1900);
        for signal in signals {
            server.signal(signal);
            wait_for_delivery(server.id());
        }
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(server.wait().0.code(), Some(130));
        assert!(
            !String::from_utf8_lossy(&rest).contains("[DONE]"),
            "the answer was not waited for"
        );
    }
}

/// Sends SIGHUP twice while an answer is running, as the kernel and a shell do. Returns the rest of
/// the stream and the exit status.
#[cfg(target_os = "linux")]
fn hang_up(server: ServerProcess, tokens: usize) -> (String, Option<i32>) {
    let stream = streaming(&server, tokens);
    for _ in 0..2 {
        server.signal("-HUP");
        wait_for_delivery(server.id());
    }
    (rest(stream), server.wait().0.code())
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_that_closes_stops_serve_as_sigterm_does() {
    let (rest, status) = hang_up(ServerProcess::demo(&[]), 800);
    assert!(rest.trim_end().ends_with("data: [DONE]"), "{rest}");
    assert_eq!(status, Some(0));
    // An answer that takes longer than the drain time ends with an error event.
    let (rest, status) = hang_up(ServerProcess::slow_demo(&["--drain-time", "0"]), 1900);
    assert!(
        rest.contains("shutting_down") && !rest.contains("[DONE]"),
        "{rest}"
    );
    assert_eq!(status, Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn under_nohup_serve_continues_after_the_terminal_closes() {
    let mut command = Command::new("sh");
    let script = format!(
        "trap '' HUP; exec '{}' serve --demo --port 0 --lang en",
        env!("CARGO_BIN_EXE_moss-cli")
    );
    command
        .args(["-c", &script])
        .env("XDG_CACHE_HOME", shared_cache())
        .stdin(std::process::Stdio::null());
    let mut server = ServerProcess::start(command);
    server.signal("-HUP");
    wait_for_delivery(server.id());
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(server.is_running());
    server.signal("-TERM");
    assert_eq!(server.wait().0.code(), Some(0));
}
