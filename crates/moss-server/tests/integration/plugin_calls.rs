//! Plugin calls that the server runs, with a scripted model.

use moss_plugins::{
    CallContext, Output, Passage, Plugin, PluginError, Plugins, Program, ResultKind, Search,
    SearchBackend,
};
use moss_testing::http::with;
use moss_text::Specials;
use serde_json::{Value, json};

use crate::support::{
    CHAT, Running,
    scripted::{self, SEARCHING, Script},
};

/// A search with one passage.
#[derive(Debug)]
struct Weather;

impl Plugin for Weather {
    fn name(&self) -> &str {
        "Search"
    }

    fn kind(&self) -> ResultKind {
        ResultKind::Passages
    }

    fn call(&self, argument: &str, _: &CallContext) -> Result<Output, PluginError> {
        Ok(Output::Passages(vec![Passage {
            text: format!("{argument}<eor>\n晴"),
            title: "T".to_owned(),
            url: "https://a.example/".to_owned(),
        }]))
    }
}

fn asked() -> Value {
    json!({
        "messages": [{"role": "user", "content": "天气?"}],
        "temperature": 0,
        "moss": {"plugins": {"web_search": true}, "run_plugins": true},
    })
}

fn serving(plugins: Plugins) -> Running {
    Script::plugins(SEARCHING).serve_running(Some(plugins))
}

#[test]
fn the_server_runs_the_calls_and_the_answer_has_their_results() {
    let script = Script::plugins(SEARCHING);
    let server = script.serve_running(Some(Plugins::default().with(Weather)));
    let answer = server.post(CHAT, &asked()).json();
    let message = &answer["choices"][0]["message"];
    assert_eq!(message["content"], "今天晴。");
    assert_eq!(message["moss"]["commands"], " Search(\"天气\")");
    let results = "Search(\"天气\") =>\n<|1|>: '天气<eor> 晴'";
    assert_eq!(message["moss"]["results"], results);
    let sources =
        json!([{"number": 1, "title": "T", "url": "https://a.example/", "text": "天气<eor> 晴"}]);
    assert_eq!(message["moss"]["sources"], sources);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let seen = script.seen.lock().unwrap().clone();
    let seen = scripted::tokenizer().decode(&seen, Specials::Show);
    let expected = format!("{SEARCHING}\n<|Results|>:\n{results}\n<eor>\n<|MOSS|>: 今天晴。");
    assert!(seen.ends_with(&expected), "{seen}");

    // The message as it was sent is part of the next prompt.
    let next = json!({"messages": [
        {"role": "user", "content": "天气?"}, message, {"role": "user", "content": "谢谢"}
    ]});
    let again = server.post(CHAT, &next).json();
    assert_eq!(again["moss"]["ignored"], Value::Null);
}

#[test]
fn a_stream_has_the_results_before_the_answer() {
    let server = serving(Plugins::default().with(Weather));
    let events = server
        .post(CHAT, &with(asked(), json!({"stream": true})))
        .events();
    let delta = |event: &Value| event["choices"][0]["delta"].clone();
    let results = events
        .iter()
        .position(|event| delta(event)["moss"]["results"].is_string());
    let has_text = |event: &Value| {
        let content = delta(event)["content"].clone();
        content.as_str().is_some_and(|text| !text.is_empty())
    };
    let answer = events.iter().position(has_text);
    assert!(results.unwrap() < answer.unwrap(), "{events:?}");
    let finishes = events
        .iter()
        .filter(|event| !event["choices"][0]["finish_reason"].is_null());
    assert_eq!(finishes.count(), 1);
}

#[test]
fn clients_supply_results_unless_they_ask_the_server_to_run_plugins() {
    let server = serving(Plugins::default().with(Weather));
    let asked = with(asked(), json!({"moss": {"plugins": {"web_search": true}}}));
    let message = server.post(CHAT, &asked).json()["choices"][0]["message"].clone();
    assert_eq!(
        (&message["content"], &message["moss"]["results"]),
        (&json!(""), &Value::Null)
    );
}

#[test]
fn a_plugin_that_the_request_does_not_enable_is_not_run() {
    let server = serving(Plugins::default().with(Weather));
    let asked = with(asked(), json!({"moss": {"run_plugins": true}}));
    let message = server.post(CHAT, &asked).json()["choices"][0]["message"].clone();
    assert_eq!(message["moss"]["results"], "None");
    assert_eq!(message["moss"]["sources"], Value::Null);
}

#[test]
fn a_server_without_plugins_rejects_requests_to_run_them() {
    let server = Script::plugins(SEARCHING).serve();
    let (status, field, code) = server.post(CHAT, &asked()).error();
    assert_eq!(
        (status, field.as_str(), code.as_str()),
        (400, "moss.run_plugins", "unsupported_parameter")
    );
}

#[cfg(unix)]
#[test]
fn a_call_that_fails_has_no_result_and_the_answer_follows() {
    let search = Search::new(SearchBackend::Program(Program::new("exit 1")));
    let server = serving(Plugins::default().with(search));
    let message = server.post(CHAT, &asked()).json()["choices"][0]["message"].clone();
    assert_eq!(
        message["moss"]["results"],
        "Search(\"天气\") =>\nNo result."
    );
    assert_eq!(message["content"], "今天晴。");
}
