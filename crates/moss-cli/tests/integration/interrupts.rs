//! Ctrl-C, which arrives as SIGINT.

use moss_testing::wait_until;
use std::{
    io::{Read, Write},
    process::Child,
};

use crate::support::{ENDLESS, command, signal, text};

/// Waits for the first bytes of an answer.
fn first_bytes(child: &mut Child) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    let read = child.stdout.as_mut().unwrap().read(&mut bytes).unwrap();
    bytes.truncate(read);
    bytes
}

#[test]
fn ctrl_c_ends_generate_with_what_there_is_and_status_130() {
    let args = [
        &["--demo=fp16"][..],
        &ENDLESS,
        &["-v", "generate", "--raw", "--ignore-eos", "讲个故事"],
    ]
    .concat();
    let mut child = command(&std::env::temp_dir(), &args).spawn().unwrap();
    assert!(!first_bytes(&mut child).is_empty());
    signal(&child, "-INT");
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(130));
    assert!(
        text(&out.stderr).contains("(stopped)"),
        "{}",
        text(&out.stderr)
    );
    assert!(out.stdout.ends_with(b"\n"));
}

#[test]
fn ctrl_c_stops_an_answer_and_the_chat_continues() {
    let mut child = command(
        &std::env::temp_dir(),
        &[&["--demo=fp16"][..], &ENDLESS].concat(),
    )
    .spawn()
    .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all("讲个故事\n".as_bytes()).unwrap();
    first_bytes(&mut child);
    signal(&child, "-INT");
    stdin
        .write_all("/params temperature 0\nWho are you?\n".as_bytes())
        .unwrap();
    drop(stdin);
    let out = child.wait_with_output().unwrap();
    let notes = text(&out.stderr);
    assert!(out.status.success(), "{notes}");
    assert!(notes.contains("(stopped)"), "{notes}");
    // The first read may have split a character.
    assert!(
        String::from_utf8_lossy(&out.stdout)
            .lines()
            .last()
            .is_some_and(|line| line.contains("demo model"))
    );
}

#[test]
fn ctrl_c_at_a_waiting_pipe_leaves_with_status_130() {
    let mut child = command(&std::env::temp_dir(), &["--demo", "--temperature", "0"])
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"Who are you?\n").unwrap();
    // After the line of the answer, the chat waits for the next message.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\n") {
        answer.extend(first_bytes(&mut child));
    }
    // A signal before the chat waits again would only stop the answer, so it is repeated.
    wait_until("the exit", || {
        signal(&child, "-INT");
        std::thread::sleep(std::time::Duration::from_millis(200));
        child.try_wait().unwrap().is_some()
    });
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
