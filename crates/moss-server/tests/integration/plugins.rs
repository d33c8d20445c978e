//! Answers of a plugin model that clients return, with a scripted model.

use moss_testing::http::with;
use moss_text::Specials;
use serde_json::{Value, json};

use crate::support::{
    CHAT, Running,
    scripted::{self, ANSWER, IDLE, SEARCHING, Script},
};

/// Returns a server of a plugin model that generates `turn`, and a function that decodes the tokens
/// in its cache.
fn serving(turn: &'static str) -> (Running, impl Fn(Specials) -> String) {
    let script = Script::plugins(turn);
    let (seen, tokenizer) = (script.seen.clone(), scripted::tokenizer());
    let show = move |specials| tokenizer.decode(&seen.lock().unwrap(), specials);
    (script.serve(), show)
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn ask(server: &Running, messages: &[Value]) -> Value {
    let answer = server
        .post(CHAT, &json!({"messages": messages, "temperature": 0}))
        .json();
    answer["choices"][0]["message"].clone()
}

#[test]
fn an_answer_handed_back_as_it_came_is_what_the_model_wrote() {
    let (server, seen) = serving(IDLE);
    let answer = ask(&server, &[user("你好")]);
    assert_eq!(
        (&answer["content"], &answer["moss"]["commands"]),
        (&json!("今天晴。"), &json!(" None"))
    );
    let first =
        format!("S\n<|Human|>: 你好<eoh>\n{IDLE}\n<|Results|>:\nNone\n<eor>\n<|MOSS|>:{ANSWER}");
    assert_eq!(
        format!("{}<eom>", seen(Specials::Show)),
        first,
        "the last token is drawn and never run"
    );
    ask(&server, &[user("你好"), answer, user("再见")]);
    assert!(
        seen(Specials::Show).starts_with(&format!("{first}\n<|Human|>: 再见<eoh>\n{IDLE}")),
        "{}",
        seen(Specials::Show)
    );
}

#[test]
fn logprobs_of_a_plugin_model_are_those_of_what_it_says_alone() {
    for turn in [IDLE, SEARCHING] {
        let (server, _) = serving(turn);
        let asked = json!({"messages": [user("你好")], "temperature": 0, "logprobs": true});
        let matched = |choice: &Value, message: &str| {
            let content = choice[message]["content"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let tokens = choice["logprobs"]["content"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let joined: String = tokens
                .iter()
                .map(|token| token["token"].as_str().unwrap())
                .collect();
            assert_eq!(joined, content, "{choice}");
            content
        };
        let whole = server.post(CHAT, &asked).json();
        let content = matched(&whole["choices"][0], "message");
        assert_eq!(content, if turn == IDLE { "今天晴。" } else { "" });
        let events = server
            .post(CHAT, &with(asked, json!({"stream": true})))
            .events();
        let pieces = events
            .iter()
            .map(|event| matched(&event["choices"][0], "delta"));
        assert_eq!(pieces.collect::<String>(), content);
    }
}

#[test]
fn results_are_handed_in_beside_the_commands_that_asked_for_them() {
    let (server, seen) = serving(SEARCHING);
    let mut commands = ask(&server, &[user("天气?")]);
    assert_eq!(
        (&commands["content"], &commands["moss"]["commands"]),
        (&json!(""), &json!(" Search(\"天气\")"))
    );
    commands["moss"]["results"] = json!("晴<eom>");
    let answer = ask(&server, &[user("天气?"), commands.clone()]);
    assert_eq!(
        (&answer["content"], &answer["moss"]),
        (&json!("今天晴。"), &Value::Null)
    );
    let first = format!(
        "S\n<|Human|>: 天气?<eoh>\n{SEARCHING}\n<|Results|>:\n晴<eom>\n<eor>\n<|MOSS|>:{ANSWER}"
    );
    assert_eq!(format!("{}<eom>", seen(Specials::Show)), first);
    assert!(
        seen(Specials::Skip).contains("晴<eom>"),
        "what a client writes is text, and no token"
    );
    ask(&server, &[user("天气?"), commands, answer, user("谢谢")]);
    assert!(
        seen(Specials::Show).starts_with(&format!("{first}\n<|Human|>: 谢谢<eoh>\n")),
        "{}",
        seen(Specials::Show)
    );
}

#[test]
fn what_is_not_known_of_a_turn_is_none_and_what_did_not_follow_is_left_out() {
    let (server, seen) = serving(IDLE);
    let prompt_of = |answer: Value| {
        ask(&server, &[user("a"), answer, user("b")]);
        let seen = seen(Specials::Show);
        let (turn, _) = seen.split_once("\n<|Human|>: b").unwrap();
        turn.split_once("<eoh>\n")
            .map(|(_, reply)| reply.to_owned())
            .unwrap_or_default()
    };
    let none = "<|Inner Thoughts|>: None<eot>\n<|Commands|>: None<eoc>\n<|Results|>:\nNone\n<eor>\n<|MOSS|>: c<eom>";
    assert_eq!(
        prompt_of(json!({"role": "assistant", "content": "c"})),
        none
    );
    assert_eq!(
        prompt_of(json!({"role": "assistant", "content": "c", "moss": {}})),
        none
    );
    assert_eq!(
        prompt_of(json!({"role": "assistant", "content": "c", "moss": null})),
        none
    );
    // A reply that ends after its commands is closed by the next question.
    let commands =
        json!({"role": "assistant", "content": "", "moss": {"commands": "Search(\"x\")"}});
    let cut = "<|Inner Thoughts|>: None<eot>\n<|Commands|>: Search(\"x\")<eoc><eom>";
    assert_eq!(prompt_of(commands), cut);
}

#[test]
fn fields_that_an_answer_cannot_have_are_named() {
    let (server, _) = serving(IDLE);
    let no = |messages: Value, param: &str, code: &str| {
        let (status, found, kind) = server.post(CHAT, &json!({"messages": messages})).error();
        assert_eq!((status, found.as_str(), kind.as_str()), (400, param, code));
    };
    let (question, unsupported) = (user("a"), "unsupported_parameter");
    let answer = |moss: Value| json!({"role": "assistant", "content": "c", "moss": moss});
    no(
        json!([{"role": "user", "content": "a", "moss": {"thoughts": "t"}}]),
        "messages[0].moss",
        unsupported,
    );
    no(
        json!([question, answer(json!({"results": "r"})), question]),
        "messages[1].moss",
        unsupported,
    );
    let both = json!([
        question,
        answer(json!({})),
        answer(json!({"thoughts": "t"})),
        question
    ]);
    no(both, "messages[2].moss", unsupported);
    no(
        json!([question, answer(json!({"thoughts": 1})), question]),
        "messages[1].moss.thoughts",
        "invalid_json",
    );
    // The model continues its own answer only after results.
    let last = json!({"role": "assistant", "content": "", "moss": {"commands": "x"}});
    no(json!([question, last]), "messages[1].role", unsupported);
}

#[test]
fn an_answer_of_a_plugin_model_is_continued_behind_its_label() {
    let (server, seen) = serving(IDLE);
    ask(
        &server,
        &[user("a"), json!({"role": "assistant", "content": "今天"})],
    );
    let expected = "S\n<|Human|>: a<eoh>\n<|Inner Thoughts|>: None<eot>\n<|Commands|>: None<eoc>\n<|Results|>:\nNone\n<eor>\n<|MOSS|>: 今天";
    assert!(
        seen(Specials::Show).starts_with(expected),
        "{}",
        seen(Specials::Show)
    );
    assert!(
        !seen(Specials::Show)[expected.len()..].starts_with("<eom>"),
        "{}",
        seen(Specials::Show)
    );
}
