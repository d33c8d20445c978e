//! Messages in any order, and the prompts that they give.

use moss_text::Specials;
use serde_json::{Value, json};

use crate::support::{
    CHAT, Running,
    scripted::{Script, tokenizer},
};

/// Returns a server, and a function that returns the prompt that messages become. `S` is the
/// server's system prompt.
fn serving() -> (Running, impl Fn(&Running, Value) -> String) {
    let script = Script::silent();
    let (seen, tokenizer) = (script.seen.clone(), tokenizer());
    let prompt = move |server: &Running, messages: Value| {
        server
            .post(CHAT, &json!({"messages": messages, "temperature": 0}))
            .json();
        tokenizer.decode(&seen.lock().unwrap(), Specials::Show)
    };
    (script.serve(), prompt)
}

fn says(role: &str, content: impl Into<Value>) -> Value {
    json!({"role": role, "content": content.into()})
}

#[test]
fn system_messages_at_the_beginning_are_the_instruction_together() {
    let (server, prompt) = serving();
    assert_eq!(
        prompt(&server, json!([says("user", "a")])),
        "S\n<|Human|>: a<eoh>\n<|MOSS|>:"
    );
    let several = json!([
        says("system", "X"),
        says("developer", "Y"),
        says("user", "a")
    ]);
    assert_eq!(
        prompt(&server, several),
        "X\n\nY\n<|Human|>: a<eoh>\n<|MOSS|>:"
    );
}

#[test]
fn a_later_system_message_keeps_its_position() {
    let (server, prompt) = serving();
    let middle = json!([
        says("user", "a"),
        says("assistant", "b"),
        says("system", "X"),
        says("user", "c")
    ]);
    let expected = "S\n<|Human|>: a<eoh>\n<|MOSS|>: b<eom>\n<|Human|>: X\n\nc<eoh>\n<|MOSS|>:";
    assert_eq!(prompt(&server, middle), expected);
    let last = json!([
        says("user", "a"),
        says("assistant", "b"),
        says("system", "X")
    ]);
    let expected = "S\n<|Human|>: a<eoh>\n<|MOSS|>: b<eom>\n<|Human|>: X<eoh>\n<|MOSS|>:";
    assert_eq!(prompt(&server, last), expected);
    let behind = json!([says("system", "I"), says("user", "a"), says("system", "X")]);
    assert_eq!(
        prompt(&server, behind),
        "I\n<|Human|>: a\n\nX<eoh>\n<|MOSS|>:"
    );
}

#[test]
fn neighbours_of_one_side_become_one_message() {
    let (server, prompt) = serving();
    let messages = json!([
        says("user", "a"),
        says("user", "b"),
        says("assistant", "c"),
        says("assistant", "d"),
        says("user", "e")
    ]);
    let expected = "S\n<|Human|>: a\n\nb<eoh>\n<|MOSS|>: c\n\nd<eom>\n<|Human|>: e<eoh>\n<|MOSS|>:";
    assert_eq!(prompt(&server, messages), expected);
}

#[test]
fn an_answer_in_front_of_everything_answers_an_empty_message() {
    let (server, prompt) = serving();
    let expected = "S\n<|Human|>: <eoh>\n<|MOSS|>: Welcome<eom>\n<|Human|>: a<eoh>\n<|MOSS|>:";
    assert_eq!(
        prompt(
            &server,
            json!([says("assistant", "Welcome"), says("user", "a")])
        ),
        expected
    );
}

#[test]
fn an_answer_at_the_end_is_continued_where_it_stops() {
    let (server, prompt) = serving();
    let messages = json!([says("user", "a"), says("assistant", "Sure, ")]);
    assert_eq!(
        prompt(&server, messages),
        "S\n<|Human|>: a<eoh>\n<|MOSS|>: Sure, "
    );
    let alone = json!([says("system", "X"), says("assistant", "Once")]);
    assert_eq!(
        prompt(&server, alone),
        "X\n<|Human|>: <eoh>\n<|MOSS|>: Once"
    );
}

#[test]
fn answers_without_text_are_skipped_in_every_position() {
    let (server, prompt) = serving();
    let expected = "S\n<|Human|>: a<eoh>\n<|MOSS|>:";
    for empty in [
        says("assistant", ""),
        says("assistant", Value::Null),
        says("assistant", json!([])),
        says("assistant", " \n"),
        json!({"role": "assistant"}),
    ] {
        assert_eq!(
            prompt(&server, json!([says("user", "a"), empty])),
            expected,
            "{empty}"
        );
        assert_eq!(
            prompt(&server, json!([empty, says("user", "a")])),
            expected,
            "{empty}"
        );
        let middle = json!([says("user", "a"), empty, says("user", "b")]);
        assert_eq!(
            prompt(&server, middle),
            "S\n<|Human|>: a\n\nb<eoh>\n<|MOSS|>:",
            "{empty}"
        );
    }
}

#[test]
fn a_system_message_without_text_leaves_the_servers_instruction_in_place() {
    let (server, prompt) = serving();
    for role in ["system", "developer"] {
        for empty in [json!(""), Value::Null, json!([]), json!(" \n")] {
            let empty = says(role, empty);
            assert_eq!(
                prompt(&server, json!([empty, says("user", "a")])),
                "S\n<|Human|>: a<eoh>\n<|MOSS|>:",
                "{empty}"
            );
            let beside_text = json!([empty, says("system", "X"), empty, says("user", "a")]);
            assert_eq!(
                prompt(&server, beside_text),
                "X\n<|Human|>: a<eoh>\n<|MOSS|>:",
                "{empty}"
            );
        }
    }
}

#[test]
fn later_messages_without_text_add_nothing_to_the_prompt() {
    let (server, prompt) = serving();
    for content in [
        json!(""),
        Value::Null,
        json!([]),
        json!([{"type": "text", "text": null}, null]),
    ] {
        for role in ["system", "user"] {
            let empty = says(role, content.clone());
            for messages in [
                json!([says("user", "a"), empty]),
                json!([says("user", "a"), empty, empty]),
                json!([empty, says("user", "a")]),
            ] {
                assert_eq!(
                    prompt(&server, messages),
                    "S\n<|Human|>: a<eoh>\n<|MOSS|>:",
                    "{empty}"
                );
            }
            let between = json!([
                says("user", "a"),
                says("assistant", "b"),
                empty,
                says("user", "c")
            ]);
            assert_eq!(
                prompt(&server, between),
                "S\n<|Human|>: a<eoh>\n<|MOSS|>: b<eom>\n<|Human|>: c<eoh>\n<|MOSS|>:",
                "{empty}"
            );
        }
        // After an answer, an empty system message adds no turn, and an empty user message does.
        let answered = |last| json!([says("user", "a"), says("assistant", "b"), last]);
        assert_eq!(
            prompt(&server, answered(says("system", content.clone()))),
            "S\n<|Human|>: a<eoh>\n<|MOSS|>: b"
        );
        assert_eq!(
            prompt(&server, answered(says("user", content.clone()))),
            "S\n<|Human|>: a<eoh>\n<|MOSS|>: b<eom>\n<|Human|>: <eoh>\n<|MOSS|>:"
        );
    }
}

#[test]
fn without_any_text_an_empty_message_is_answered() {
    let (server, prompt) = serving();
    for (messages, instruction) in [
        (json!([says("system", "X")]), "X"),
        (json!([says("developer", "X")]), "X"),
        (json!([says("system", "X"), says("assistant", "")]), "X"),
        (
            json!([says("assistant", Value::Null), says("developer", "X")]),
            "X",
        ),
        (json!([says("assistant", "")]), "S"),
        (json!([says("system", "")]), "S"),
        (json!([says("user", "")]), "S"),
    ] {
        assert_eq!(
            prompt(&server, messages.clone()),
            format!("{instruction}\n<|Human|>: <eoh>\n<|MOSS|>:"),
            "{messages}"
        );
    }
}

#[test]
fn a_user_message_without_a_content_is_refused() {
    let (server, _) = serving();
    let missing = server
        .post(CHAT, &json!({"messages": [{"role": "user"}]}))
        .error();
    assert_eq!(
        missing,
        (400, "messages[0].content".into(), "invalid_json".into())
    );
}

#[test]
fn what_is_continued_keeps_the_white_space_at_its_beginning() {
    let server = Running::start();
    let messages = json!([says("user", "What is 3 + 4?"), says("assistant", "3 + 4 =")]);
    let asked = json!({"messages": messages, "temperature": 0});
    assert_eq!(
        server.post(CHAT, &asked).json()["choices"][0]["message"]["content"],
        " 7."
    );
}
