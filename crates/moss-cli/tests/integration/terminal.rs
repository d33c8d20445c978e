//! The chat at a terminal.

use crate::support::{
    ENDLESS,
    terminal::{PROMPT, assert_exits, chat, keys, line, see, see_line_taken},
};

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
        assert!(
            std::fs::read_to_string(history).unwrap().contains("你好"),
            "history is kept"
        );
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
    see(&mut session, "context: 0 of 2048 tokens, 0 turn(s)");
    session.send_control('d').unwrap();
    assert_exits(&mut session, 0);
}

#[test]
fn ctrl_c_stops_an_answer_and_twice_at_the_prompt_leaves() {
    let home = tempfile::tempdir().unwrap();
    // Nearly uniform over the vocabulary: an answer of more than a thousand tokens.
    let mut session = chat(home.path(), &ENDLESS);
    line(&mut session, "讲个故事");
    see(&mut session, "processing the prompt");
    session.send_control('c').unwrap();
    see(&mut session, "(stopped)");
    see(&mut session, PROMPT);
    line(&mut session, "/stats");
    see(&mut session, "1 turn(s)");
    see(&mut session, PROMPT);
    session.send_control('c').unwrap();
    see(&mut session, "press Ctrl-C again to exit");
    see(&mut session, PROMPT);
    session.send_control('c').unwrap();
    assert_exits(&mut session, 130);
}

#[test]
fn tab_completes_commands_and_ctrl_c_drops_a_message_of_several_lines() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &["--temperature", "0"]);
    line(&mut session, "/mu\t");
    see(&mut session, "a single dot");
    see(&mut session, "... ");
    line(&mut session, "first");
    see(&mut session, "... ");
    session.send_control('c').unwrap();
    see(&mut session, "the message was discarded");
    see(&mut session, PROMPT);
    line(&mut session, "/st\t");
    see(&mut session, "0 turn(s)");
}

#[test]
fn ctrl_c_clears_a_line_with_text_and_only_two_in_a_row_on_an_empty_line_leave() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &["--temperature", "0"]);
    // Ctrl-C clears the text, and does not count as the first of two.
    for text in ["half a question", "一半的问题", "/help", "  "] {
        session.send(text).unwrap();
        session.send_control('c').unwrap();
    }
    line(&mut session, "/stats");
    see(&mut session, "0 turn(s)");
    see(&mut session, PROMPT);
    // The first on an empty line prints a hint.
    session.send_control('c').unwrap();
    see(&mut session, "press Ctrl-C again to exit");
    see(&mut session, PROMPT);
    // Any line in between resets the count, also a cleared one.
    line(&mut session, "/stats");
    see(&mut session, "0 turn(s)");
    see(&mut session, PROMPT);
    session.send_control('c').unwrap();
    see(&mut session, "press Ctrl-C again to exit");
    see(&mut session, PROMPT);
    session.send("text").unwrap();
    session.send_control('c').unwrap();
    session.send_control('c').unwrap();
    see(&mut session, "press Ctrl-C again to exit");
    see(&mut session, PROMPT);
    session.send_control('c').unwrap();
    assert_exits(&mut session, 130);
}

#[test]
fn a_cleared_line_comes_back_with_ctrl_y() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &["--temperature", "0"]);
    session.send("/stats").unwrap();
    session.send_control('c').unwrap();
    session.send_control('y').unwrap();
    line(&mut session, "");
    see(&mut session, "0 turn(s)");
}

#[test]
fn ctrl_c_during_an_answer_never_leaves_however_often() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &ENDLESS);
    for turns in 1..4 {
        line(&mut session, "讲个故事");
        see_line_taken(&mut session);
        for _ in 0..3 {
            session.send_control('c').unwrap();
        }
        see(&mut session, "(stopped)");
        // A Ctrl-C that arrives late counts at most as the first at the prompt.
        line(&mut session, "/stats");
        see(&mut session, &format!("{turns} turn(s)"));
        see(&mut session, PROMPT);
    }
}

#[test]
fn ctrl_c_in_the_same_read_as_a_question_does_not_leave_after_its_answer() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &["--temperature", "0"]);
    keys(&mut session, "Who are you?\r\u{3}\u{3}\u{3}/stats\r");
    see(&mut session, "1 turn(s)");
}

#[test]
fn ctrl_d_ends_a_message_of_several_lines_and_leaves_on_an_empty_line_alone() {
    let home = tempfile::tempdir().unwrap();
    let mut session = chat(home.path(), &["--temperature", "0"]);
    session.send("Who are you?").unwrap();
    session.send_control('d').unwrap(); // deletes the character at the cursor, of which there is none
    line(&mut session, "");
    see(&mut session, "demo model");
    see(&mut session, PROMPT);
    line(&mut session, "/multi");
    see(&mut session, "... ");
    line(&mut session, "Who are you?");
    see(&mut session, "... ");
    session.send_control('d').unwrap();
    see(&mut session, "demo model");
    see(&mut session, PROMPT);
    session.send_control('d').unwrap();
    assert_exits(&mut session, 0);
}
