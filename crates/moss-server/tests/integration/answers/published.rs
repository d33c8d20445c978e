//! The API of MOSS's published server: conversations on the server, at `/`.

use serde_json::{Value, json};

use crate::support::Running;

#[test]
fn a_published_conversation_outlives_an_answer_that_fails() {
    let server = Running::start();
    let first = server
        .post("/", &json!({"prompt": "你好", "temperature": 0}))
        .json();
    let asked = json!({"prompt": "What is 3 + 4?", "uid": first["uid"], "temperature": 0});
    for passes in [0, 3] {
        server.fail_after(passes);
        assert_eq!(server.post("/", &asked).error().0, 500);
    }
    let second = server.post("/", &asked).json();
    assert_eq!(
        second["history"],
        json!([first["history"][0], ["What is 3 + 4?", "3 + 4 = 7."]])
    );
}

#[test]
fn the_published_api_keeps_conversations() {
    let server = Running::start();
    let first = server
        .post(
            "/",
            &json!({"prompt": "What is 3 + 4?", "temperature": 0.0}),
        )
        .json();
    assert_eq!(
        (&first["response"], &first["status"]),
        (&json!("3 + 4 = 7."), &json!(200))
    );
    assert_eq!(
        first["time"].as_str().unwrap().len(),
        "2023-04-21 12:00:00".len()
    );
    let uid = &first["uid"];
    let second = server
        .post(
            "/",
            &json!({"prompt": "你好", "uid": uid, "max_length": 2048, "top_p": 0.8}),
        )
        .json();
    assert_eq!(second["history"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&second["history"][0], &second["uid"]),
        (&json!(["What is 3 + 4?", "3 + 4 = 7."]), uid)
    );
    assert!(
        server.engine.metrics().reused_tokens > 300,
        "what was said is not read again"
    );
    let other = server
        .post("/", &json!({"prompt": "你好", "uid": "unknown"}))
        .json();
    assert_eq!(other["history"].as_array().unwrap().len(), 1);
    assert_ne!(&other["uid"], "unknown");
}

#[test]
fn messages_that_the_published_api_drops_are_counted_in_its_answer() {
    let server = Running::start();
    let ask = |uid: &Value| {
        let prompt = "word ".repeat(150);
        server
            .post(
                "/",
                &json!({"prompt": prompt, "uid": uid, "temperature": 0}),
            )
            .json()
    };
    let mut answer = ask(&Value::Null);
    let mut before = 1;
    for _ in 0..20 {
        assert!(answer.get("moss").is_none(), "nothing is dropped: {answer}");
        answer = ask(&answer["uid"]);
        let turns = answer["history"].as_array().unwrap().len();
        if turns <= before {
            let dropped = before + 1 - turns;
            assert_eq!(answer["moss"], json!({"dropped_messages": 2 * dropped}));
            return;
        }
        before = turns;
    }
    panic!("the context window was never full");
}
