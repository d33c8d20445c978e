//! The same reply is counted alike through [`Chat`], both chat routes and the published API.

use std::sync::atomic::Ordering::SeqCst;

use moss_engine::{Chat, ChatOptions, Event};
use moss_sampling::SamplingParams;
use moss_testing::http::{Reply, with};
use moss_text::{PluginSwitches, PromptBuilder, SegmentKind, SystemText, Tokenizer, Work};
use serde_json::{Value, json};

use crate::support::{
    CHAT, Running,
    scripted::{ANSWER, IDLE, SEARCHING, Script, tokenizer},
};

const RESULTS: &str = "\n<|Results|>:\nNone\n<eor>\n<|MOSS|>:";

/// Token counts of one reply.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Counts {
    prompt: usize,
    reused: usize,
    generated: usize,
    /// Tokens that the model processed.
    processed: usize,
    /// Bytes of text that were encoded.
    encoded: usize,
}

/// Counts of an engine's model and tokenizer so far.
struct Meter<'a> {
    script: &'a Script,
    tokenizer: &'a Tokenizer,
    processed: usize,
    work: Work,
}

impl<'a> Meter<'a> {
    fn start(script: &'a Script, tokenizer: &'a Tokenizer) -> Self {
        Self {
            script,
            tokenizer,
            processed: script.processed.load(SeqCst),
            work: tokenizer.work(),
        }
    }

    /// Returns the counts since the start. Each generated token must have been decoded once.
    fn counts(&self, prompt: usize, reused: usize, generated: usize) -> Counts {
        let work = self.tokenizer.work();
        assert_eq!(work.decoded_ids - self.work.decoded_ids, generated);
        Counts {
            prompt,
            reused,
            generated,
            processed: self.script.processed.load(SeqCst) - self.processed,
            encoded: work.encoded_bytes - self.work.encoded_bytes,
        }
    }
}

fn tokens(text: &str) -> usize {
    tokenizer().encode(text).unwrap().len()
}

/// Asks `questions` one after the other and returns the last answer's text and counts.
fn by_chat(script: &Script, questions: &[&str], most: usize) -> (String, Counts) {
    let plugins = script.has_plugins.then(PluginSwitches::default);
    let (tokenizer, system) = (tokenizer(), SystemText::Custom("S".into()));
    let builder = PromptBuilder::new(tokenizer.clone(), system, plugins).unwrap();
    let options = ChatOptions {
        sampling: SamplingParams::greedy(),
        max_new_tokens: Some(most),
        time_limit: None,
    };
    let mut chat = Chat::new(script.engine(tokenizer.clone()), builder, options);
    let mut last = None;
    for question in questions {
        let meter = Meter::start(script, &tokenizer);
        let mut text = String::new();
        for event in chat.ask(question).unwrap() {
            match event {
                Event::Text {
                    kind: SegmentKind::Answer,
                    piece,
                    ..
                } => text.push_str(&piece),
                Event::Finished(outcome) => {
                    let usage = outcome.usage;
                    assert_eq!(outcome.ids.len(), usage.generated_tokens);
                    let counts = meter.counts(
                        usage.prompt_tokens,
                        usage.reused_tokens,
                        usage.generated_tokens,
                    );
                    last = Some((text.clone(), counts));
                }
                _ => {}
            }
        }
    }
    last.unwrap()
}

fn counted(usage: &Value, meter: &Meter<'_>) -> Counts {
    let count = |value: &Value| value.as_u64().unwrap() as usize;
    meter.counts(
        count(&usage["prompt_tokens"]),
        count(&usage["prompt_tokens_details"]["cached_tokens"]),
        count(&usage["completion_tokens"]),
    )
}

/// Asks one question with more `fields`, whole and streamed, each on a new server, and
/// checks the metrics.
fn by_http(make: &dyn Fn() -> Script, fields: Value, questions: &[&str]) -> [(String, Counts); 2] {
    let streamed = json!({"stream": true, "stream_options": {"include_usage": true}});
    [json!({}), streamed].map(|stream| {
        let script = make();
        let tokenizer = tokenizer();
        let server = script.serve_with(tokenizer.clone());
        let mut messages: Vec<Value> = Vec::new();
        let (mut prompts, mut generated, mut last) = (0, 0, None);
        for question in questions {
            messages.push(json!({"role": "user", "content": question}));
            let asked = with(
                json!({"messages": messages, "temperature": 0}),
                fields.clone(),
            );
            let asked = with(asked, stream.clone());
            let meter = Meter::start(&script, &tokenizer);
            let reply = server.post(CHAT, &asked);
            let (message, usage) = message(&reply, stream != json!({}));
            let text = message["content"].as_str().unwrap().to_owned();
            messages.push(message);
            let counts = counted(&usage, &meter);
            (prompts, generated) = (prompts + counts.prompt, generated + counts.generated);
            last = Some((text, counts));
        }
        assert_eq!(metric(&server, "moss_generated_tokens_total"), generated);
        // Answers that share a prompt are queued as one request each.
        let n = fields["n"].as_u64().unwrap_or(1) as usize;
        assert_eq!(metric(&server, "moss_prompt_tokens_total"), prompts * n);
        let answers = metric(&server, "moss_answers_total{reason=\"end_of_turn\"}")
            + metric(&server, "moss_answers_total{reason=\"max_tokens\"}");
        assert_eq!(answers, questions.len() * n);
        for times in ["queue_time", "time_to_first_token"] {
            let count = metric(&server, &format!("moss_{times}_seconds_count"));
            assert_eq!(count, answers, "{times}");
        }
        let totals = server.get("/stats").json()["totals"].clone();
        assert_eq!(
            [&totals["answers"], &totals["generated_tokens"]],
            [answers, generated]
        );
        last.unwrap()
    })
}

/// Returns the first choice of a reply, joined if it is streamed, and the usage.
fn message(reply: &Reply, is_stream: bool) -> (Value, Value) {
    if !is_stream {
        let whole = reply.json();
        return (
            whole["choices"][0]["message"].clone(),
            whole["usage"].clone(),
        );
    }
    let events = reply.events();
    let usage = events.last().unwrap()["usage"].clone();
    let choices = events
        .iter()
        .flat_map(|event| event["choices"].as_array().unwrap());
    let own: Vec<_> = choices.filter(|choice| choice["index"] == 0).collect();
    let all = |path: [&str; 2]| -> String {
        let texts = own.iter().filter_map(|choice| match path {
            ["content", _] => choice["delta"]["content"].as_str(),
            [outer, inner] => choice["delta"][outer][inner].as_str(),
        });
        texts.collect()
    };
    let mut message = json!({"role": "assistant", "content": all(["content", ""])});
    let (thoughts, commands) = (all(["moss", "thoughts"]), all(["moss", "commands"]));
    if !thoughts.is_empty() {
        message["moss"] = json!({"thoughts": thoughts, "commands": commands});
    }
    (message, usage)
}

fn metric(server: &Running, name: &str) -> usize {
    let metrics = server.get("/metrics").body;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

/// Checks the counts of a first question through every interface, with up to `most` generated
/// tokens.
fn check_first(make: &dyn Fn() -> Script, most: usize, text: &str, expected: Counts) {
    let all = [by_chat(&make(), &["你好"], most)]
        .into_iter()
        .chain(by_http(make, json!({"max_tokens": most}), &["你好"]));
    for (index, (found, counts)) in all.enumerate() {
        assert_eq!((found.as_str(), counts), (text, expected), "way {index}");
    }
}

const PLAIN: &str = "S\n<|Human|>: 你好<eoh>\n<|MOSS|>:";
const PLUGIN: &str = "S\n<|Human|>: 你好<eoh>\n";

/// Returns the bytes of a text without its special tokens.
fn bytes(text: &str) -> usize {
    text.replace("<eoh>", "").replace("<eor>", "").len()
}

#[test]
fn a_reply_without_plugins() {
    let prompt = tokens(PLAIN);
    let generated = tokens(ANSWER);
    let processed = prompt + generated - 1;
    let counts = Counts {
        prompt,
        reused: 0,
        generated,
        processed,
        encoded: bytes(PLAIN),
    };
    check_first(&Script::plain, 512, "今天晴。", counts);
}

#[test]
fn a_reply_that_waits_for_results() {
    let (prompt, generated) = (tokens(PLUGIN), tokens(SEARCHING));
    let processed = prompt + generated - 1;
    let counts = Counts {
        prompt,
        reused: 0,
        generated,
        processed,
        encoded: bytes(PLUGIN),
    };
    check_first(&|| Script::plugins(SEARCHING), 512, "", counts);
}

#[test]
fn a_reply_that_continues_by_itself() {
    let (prompt, generated) = (tokens(PLUGIN), tokens(IDLE) + tokens(ANSWER));
    let processed = prompt + generated + tokens(RESULTS) - 1;
    let counts = Counts {
        prompt,
        reused: 0,
        generated,
        processed,
        encoded: bytes(PLUGIN) + bytes(RESULTS),
    };
    check_first(&|| Script::plugins(IDLE), 512, "今天晴。", counts);
}

#[test]
fn a_limit_counts_both_parts_of_a_reply() {
    let (prompt, first) = (tokens(PLUGIN), tokens(IDLE));
    for (most, text) in [(3, ""), (first, ""), (first + 2, "今")] {
        let results = if most > first { RESULTS } else { "" };
        let processed = prompt + most + tokens(results) - 1;
        let counts = Counts {
            prompt,
            reused: 0,
            generated: most,
            processed,
            encoded: bytes(PLUGIN) + bytes(results),
        };
        check_first(&|| Script::plugins(IDLE), most, text, counts);
    }
}

#[test]
fn likelihoods_and_several_answers_change_no_count() {
    let idle = || Script::plugins(IDLE);
    let (text, one) = by_chat(&idle(), &["你好"], 512);
    for (found, counts) in by_http(&idle, json!({"logprobs": true}), &["你好"]) {
        assert_eq!((found, counts), (text.clone(), one));
    }
    for (found, two) in by_http(&idle, json!({"n": 2}), &["你好"]) {
        assert_eq!(found, text);
        assert_eq!((two.prompt, two.generated), (one.prompt, 2 * one.generated));
        // Equal replies share their full blocks. The last one, partly filled, is kept once.
        assert!(two.processed < 2 * one.processed + 16, "{two:?}");
        let results = bytes(RESULTS);
        assert_eq!(
            two.encoded,
            one.encoded + results,
            "the prompt is encoded once"
        );
    }
}

#[test]
fn a_second_question() {
    for make in [Script::plain, || Script::plugins(IDLE)] {
        let (text, chat) = by_chat(&make(), &["你好", "再见"], 512);
        for (found, counts) in by_http(&make, json!({}), &["你好", "再见"]) {
            assert_eq!(found, text);
            assert_eq!(
                (counts.prompt, counts.generated),
                (chat.prompt, chat.generated)
            );
        }
    }
}

#[test]
fn a_conversation_that_drops_its_oldest_turns() {
    let make = || Script {
        context_length: 128,
        ..Script::plain()
    };
    let questions = ["这是一个有点长的问题，用来把窗口填满。"; 8];
    let (text, chat) = by_chat(&make(), &questions, 8);
    let fields = json!({"max_tokens": 8, "moss": {"truncation": "auto"}});
    for (found, counts) in by_http(&make, fields, &questions) {
        assert_eq!(found, text);
        assert_eq!(
            (counts.prompt, counts.generated),
            (chat.prompt, chat.generated)
        );
    }
}

#[test]
fn the_published_api() {
    for make in [Script::plain, || Script::plugins(IDLE)] {
        let (text, chat) = by_chat(&make(), &["你好"], 512);
        let script = make();
        let server = script.serve();
        let asked = json!({"prompt": "你好", "temperature": 0});
        let answer = server.post("/", &asked).json();
        assert_eq!(answer["response"], text.as_str());
        assert_eq!(script.processed.load(SeqCst), chat.processed);
        assert_eq!(metric(&server, "moss_prompt_tokens_total"), chat.prompt);
        assert_eq!(
            metric(&server, "moss_generated_tokens_total"),
            chat.generated
        );
    }
}
