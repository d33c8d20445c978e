//! Text that is typed or pasted before the prompt appears is never lost: in the same read as
//! earlier lines (kkawakam/rustyline#690), while the model loads, and while an answer is streamed.

use std::{io::Write, path::Path, process::Command};

use moss_testing::{fixture, read_json};
use rexpect::session::PtySession;

use crate::support::{
    ENDLESS,
    terminal::{
        PROMPT, WELCOME, assert_exits, chat, keys, line, see, see_line_taken, spawn, start,
    },
};

/// Answers of one token, because only the questions matter.
const SHORT: [&str; 4] = ["--temperature", "0", "--max-new-tokens", "1"];
const CTRL_C: &str = "\u{3}";

/// Returns lines with spaces and Chinese: more than fit a screen, and few enough tokens for the
/// context window.
fn lines(count: usize) -> Vec<String> {
    let line = |n: usize| match n % 10 {
        1 => format!("第{n}行"),
        2 => format!("  l {n}"),
        _ => n.to_string(),
    };
    (0..count).map(line).collect()
}

/// Waits for the file that `/save` writes, and returns the messages in it.
fn saved(session: &mut PtySession, home: &Path, file: &str) -> Vec<String> {
    see(session, &format!("in `{file}`"));
    let json = read_json(home.join(file));
    let turns = json["turns"].as_array().unwrap();
    turns
        .iter()
        .map(|turn| turn["user"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn lines_that_arrive_in_one_read_are_all_answered() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &["--temperature", "0"]);
    for (number, case) in read_json(fixture("typed-ahead.json"))
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        for text in case["writes"].as_array().unwrap() {
            keys(&mut session, text.as_str().unwrap());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let file = format!("{number}.json");
        line(&mut session, &format!("/save {file}\rclear"));
        let found = saved(&mut session, home.path(), &file);
        let expected: Vec<String> = serde_json::from_value(case["messages"].clone()).unwrap();
        assert_eq!(found, expected, "{}", case["name"]);
    }
    line(&mut session, "stop");
    assert_exits(&mut session, 0);
}

#[test]
fn lines_typed_while_the_model_loads_are_the_first_messages() {
    for wait in [0, 5, 50] {
        let home = tempfile::tempdir().unwrap();
        let mut session = start(home.path(), &SHORT, &[]);
        std::thread::sleep(std::time::Duration::from_millis(wait));
        keys(
            &mut session,
            "What is 3 + 4?\r/multi\rfirst\rsecond\r.\r/save a.json\r",
        );
        see(&mut session, WELCOME);
        assert_eq!(
            saved(&mut session, home.path(), "a.json"),
            ["What is 3 + 4?", "first\nsecond"]
        );
    }
}

#[test]
fn text_typed_while_an_answer_streams_waits_for_the_prompt() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(
        home.path(),
        &[&ENDLESS[..], &["--max-new-tokens", "60"]].concat(),
    );
    line(&mut session, "讲个故事");
    see(&mut session, "processing the prompt");
    keys(&mut session, "/params max_new_tokens 1\rnext\rlast");
    see(&mut session, "--max-new-tokens was reached");
    see(&mut session, "last"); // the unfinished line is at the prompt
    line(&mut session, " one\r/save a.json");
    assert_eq!(
        saved(&mut session, home.path(), "a.json"),
        ["讲个故事", "next", "last one"]
    );
}

#[test]
fn ctrl_c_during_an_answer_keeps_the_text_typed_ahead() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &ENDLESS);
    line(&mut session, "讲个故事");
    see(&mut session, "processing the prompt");
    keys(
        &mut session,
        "/params max_new_tokens 1\rnext\r/save a.json\rhalf a li",
    );
    keys(&mut session, CTRL_C);
    see(&mut session, "(stopped)");
    assert_eq!(
        saved(&mut session, home.path(), "a.json"),
        ["讲个故事", "next"]
    );
    see(&mut session, "half a li");
    line(&mut session, "ne\r/save b.json");
    assert_eq!(
        saved(&mut session, home.path(), "b.json"),
        ["讲个故事", "next", "half a line"]
    );
}

#[test]
fn ctrl_c_and_ctrl_d_in_the_same_read_lose_nothing_that_follows() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &SHORT);
    keys(
        &mut session,
        &format!("{CTRL_C}one\rdropped{CTRL_C}two\r{CTRL_C}three\r/save a.json\r"),
    );
    assert_eq!(
        saved(&mut session, home.path(), "a.json"),
        ["one", "two", "three"]
    );
    keys(
        &mut session,
        &format!("/multi\ra\r{CTRL_C}/multi\rb\rc{CTRL_C}d\r\u{4}last\r/save b.json\r"),
    );
    assert_eq!(
        saved(&mut session, home.path(), "b.json"),
        ["one", "two", "three", "b\nd", "last"]
    );
}

#[test]
fn a_message_of_several_lines_is_typed_ahead_with_its_command() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &SHORT);
    keys(
        &mut session,
        "/multi\nWhat is\n3 + 4?\n.\n/multi\rWho\rare you?\r.\rnext\r/save a.json\r",
    );
    let expected = ["What is\n3 + 4?", "Who\nare you?", "next"];
    assert_eq!(saved(&mut session, home.path(), "a.json"), expected);
}

#[test]
fn a_paste_of_200_lines_between_markers_is_one_message_at_the_prompt_and_during_an_answer() {
    let home = tempfile::tempdir().unwrap();
    let pasted = lines(200).join("\r");
    let mut session = chat(home.path(), &SHORT);
    keys(
        &mut session,
        &format!("\u{1b}[200~{pasted}\u{1b}[201~\r/save a.json\r"),
    );
    assert_eq!(
        saved(&mut session, home.path(), "a.json"),
        [lines(200).join("\n")]
    );
    keys(
        &mut session,
        "/params temperature 1000\r/params max_new_tokens 40\rclear\r",
    );
    see(&mut session, "\u{1b}[2J");
    see(&mut session, PROMPT);
    line(&mut session, "讲个故事");
    see_line_taken(&mut session);
    keys(
        &mut session,
        &format!("\u{1b}[200~{pasted}\u{1b}[201~\r/save b.json\r"),
    );
    assert_eq!(
        saved(&mut session, home.path(), "b.json"),
        ["讲个故事".to_owned(), lines(200).join("\n")]
    );
}

#[test]
fn a_paste_of_200_lines_without_markers_loses_none() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &SHORT);
    keys(
        &mut session,
        &format!("/multi\r{}\r.\r/save a.json\r", lines(200).join("\r")),
    );
    assert_eq!(
        saved(&mut session, home.path(), "a.json"),
        [lines(200).join("\n")]
    );
    // Each line is a separate message.
    keys(
        &mut session,
        &format!("clear\r{}\r/save b.json\r", lines(200).join("\r")),
    );
    assert_eq!(saved(&mut session, home.path(), "b.json"), lines(200));
}

#[test]
fn a_paste_between_markers_that_begins_with_a_command_is_taken_line_by_line() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &SHORT);
    let paste = |text: &str| format!("\u{1b}[200~{text}\u{1b}[201~\r");
    keys(&mut session, &paste("/multi\na\n  b\n.\n"));
    keys(&mut session, &paste("/save a.json\nhello"));
    assert_eq!(saved(&mut session, home.path(), "a.json"), ["a\n  b"]);
    // An invalid argument does not discard the rest; unknown words are a message.
    keys(&mut session, &paste("/regen foo\nbar"));
    see(&mut session, "`/regen` takes no arguments");
    keys(&mut session, &paste("/halp\nme"));
    keys(&mut session, &paste("clear\nthe table"));
    keys(&mut session, &paste("/system You are\na poet"));
    line(&mut session, "/save b.json");
    assert_eq!(
        saved(&mut session, home.path(), "b.json"),
        ["a\n  b", "hello", "bar", "/halp\nme", "clear\nthe table"]
    );
    let json = read_json(home.path().join("b.json"));
    assert_eq!(json["system"], "You are\na poet");
    keys(&mut session, &paste("/quit\nnow"));
    assert_exits(&mut session, 0);
}

#[test]
fn white_space_at_the_beginning_of_a_message_is_kept_and_at_its_end_is_not() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &SHORT);
    keys(
        &mut session,
        "/multi\r    a\r  b\r\r.\r  c \r\u{1b}[200~    d\n\te\n\u{1b}[201~\r   \r/save a.json\r",
    );
    assert_eq!(
        saved(&mut session, home.path(), "a.json"),
        ["    a\n  b", "  c", "    d\n\te"]
    );
}

/// In canonical mode, the kernel truncates lines to 4095 bytes.
#[test]
fn a_line_longer_than_the_kernels_buffer_typed_during_an_answer_is_whole() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(
        home.path(),
        &[&ENDLESS[..], &["--max-new-tokens", "60"]].concat(),
    );
    line(&mut session, "讲个故事");
    see(&mut session, "processing the prompt");
    let long = "0123456789".repeat(1000);
    keys(&mut session, &format!("/system {long}\r/save a.json\r"));
    saved(&mut session, home.path(), "a.json");
    let json = read_json(home.path().join("a.json"));
    assert_eq!(json["system"].as_str().map(str::len), Some(long.len()));
}

#[test]
fn tabs_of_a_paste_without_markers_are_text() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &SHORT);
    keys(
        &mut session,
        "/multi\rif x:\r\treturn\t1\r.\r/sav\t a.json\r",
    );
    assert_eq!(
        saved(&mut session, home.path(), "a.json"),
        ["if x:\n\treturn\t1"]
    );
}

#[test]
fn a_simple_terminal_keeps_text_typed_ahead_and_leaves_on_the_second_ctrl_c() {
    let home = tempfile::tempdir().unwrap();
    let mut session = start(
        home.path(),
        &[&ENDLESS[..], &["-v"]].concat(),
        &[("TERM", "dumb")],
    );
    see(&mut session, PROMPT);
    line(&mut session, "讲个故事");
    session.exp_regex(".").unwrap(); // the answer has begun
    keys(
        &mut session,
        "/params max_new_tokens 1\rnext\r/save a.json\r",
    );
    keys(&mut session, CTRL_C);
    see(&mut session, "(stopped)");
    assert_eq!(
        saved(&mut session, home.path(), "a.json"),
        ["讲个故事", "next"]
    );
    see(&mut session, PROMPT);
    keys(&mut session, CTRL_C);
    see(&mut session, "press Ctrl-C again to exit");
    see(&mut session, PROMPT);
    line(&mut session, "/stats");
    see(&mut session, "2 turn(s)");
    see(&mut session, PROMPT);
    keys(&mut session, CTRL_C);
    see(&mut session, "press Ctrl-C again to exit");
    keys(&mut session, CTRL_C);
    assert_exits(&mut session, 130);
}

#[test]
fn ctrl_c_at_a_simple_terminal_clears_text_and_only_two_on_an_empty_line_leave() {
    let home = tempfile::tempdir().unwrap();
    let mut session = start(home.path(), &SHORT, &[("TERM", "dumb")]);
    see(&mut session, PROMPT);
    for text in ["abc", "def", "  "] {
        keys(&mut session, &format!("{text}{CTRL_C}"));
        see(&mut session, PROMPT);
    }
    line(&mut session, "ok");
    see(&mut session, PROMPT);
    keys(&mut session, CTRL_C);
    see(&mut session, "press Ctrl-C again to exit");
    see(&mut session, PROMPT);
    keys(&mut session, &format!("text{CTRL_C}{CTRL_C}"));
    see(&mut session, "press Ctrl-C again to exit");
    see(&mut session, PROMPT);
    // In one read: the following text is kept, and Ctrl-C drops a line of a multi-line message.
    keys(
        &mut session,
        &format!("no{CTRL_C}yes\r/multi\ra\rx{CTRL_C}b\r.\r/save a.json\r"),
    );
    assert_eq!(
        saved(&mut session, home.path(), "a.json"),
        ["ok", "yes", "a\nb"]
    );
    see(&mut session, PROMPT);
    keys(&mut session, CTRL_C);
    see(&mut session, "press Ctrl-C again to exit");
    keys(&mut session, CTRL_C);
    assert_exits(&mut session, 130);
}

#[test]
fn a_line_that_is_not_utf8_at_a_simple_terminal_takes_no_other_line_with_it() {
    let home = tempfile::tempdir().unwrap();
    let mut session = start(home.path(), &SHORT, &[("TERM", "dumb")]);
    see(&mut session, PROMPT);
    let mut terminal = session.process_mut().get_file_handle().unwrap();
    terminal
        .write_all(b"first\r\xe9t\xe9 x\rsecond\r/save a.json\r")
        .unwrap();
    assert_eq!(
        saved(&mut session, home.path(), "a.json"),
        ["first", "second"]
    );
}

/// Compares `stty` before and after the chat.
#[test]
fn the_terminal_has_its_mode_back_after_the_chat() {
    let ends: [(&str, &[&str]); 4] = [
        ("stop\r", &[]),
        ("/stats\r", &[CTRL_C, CTRL_C]),
        ("讲个故事\r", &[CTRL_C, "\u{4}"]),
        ("讲个故事\r", &["\u{1c}"]), // Ctrl-\: SIGQUIT
    ];
    for (first, rest) in ends {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        let script = format!(
            "trap : QUIT INT; stty -g > before; '{}' --demo --lang en {}; stty -g > after; echo d''one",
            env!("CARGO_BIN_EXE_moss-cli"),
            ENDLESS.join(" ")
        );
        command.args(["-c", &script]);
        let mut session = spawn(command, home.path(), &[]);
        see(&mut session, PROMPT);
        keys(&mut session, first);
        if first.starts_with('讲') {
            see_line_taken(&mut session);
        }
        for key in rest {
            keys(&mut session, key);
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        see(&mut session, "done");
        let mode = |file| std::fs::read_to_string(home.path().join(file)).unwrap();
        assert_eq!(mode("before"), mode("after"), "{first:?} {rest:?}");
    }
}
