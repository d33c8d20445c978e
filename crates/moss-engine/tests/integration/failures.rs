//! Failed answers: the question and the text so far are kept, and the next question is answered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moss_engine::{Chat, ChatOptions, ChatRun, Engine, EngineError, EngineOptions, Event};
use moss_sampling::SamplingParams;
use moss_testing::model::{Fault, Faults, ScriptedModel};
use moss_text::{Conversation, Plugin, PluginSwitches, PromptBuilder, Specials, SystemText};

use crate::support::{StartEngine, expected, greedy, mix, numbered, options, tokenizer};

/// Generates the number of questions in the prompt.
fn counting(history: &[u32]) -> u32 {
    numbered(history, |shown| format!(" 这是第 {shown} 个回答。"))
}

/// Generates a command, and after its result an answer.
fn calculating(history: &[u32]) -> u32 {
    let tokenizer = tokenizer();
    let special = tokenizer.special().unwrap();
    let (start, reply) = match history.iter().rposition(|id| Some(*id) == special.eor) {
        Some(at) => (
            at + 1 + tokenizer.encode("\n<|MOSS|>:").unwrap().len(),
            " 答案是 42。<eom>",
        ),
        None => (
            history.iter().rposition(|id| *id == special.eoh).unwrap() + 2,
            "<|Inner Thoughts|>: 要算一下<eot>\n<|Commands|>: Calculate(\"6*7\")<eoc>",
        ),
    };
    tokenizer
        .encode(reply)
        .unwrap()
        .get(history.len() - start)
        .copied()
        .unwrap_or(special.eom)
}

/// Returns a chat whose cache has exactly one context of blocks, and the faults of its model.
fn chat(
    next: fn(&[u32]) -> u32,
    plugins: Option<PluginSwitches>,
    prefill_chunk: usize,
) -> (Chat, Faults, Arc<Engine>) {
    let model = ScriptedModel::new(1536, 256, next);
    let faults = model.faults.clone();
    let engine = model.start(
        EngineOptions {
            prefill_chunk: Some(prefill_chunk),
            ..options()
        },
        Some(tokenizer()),
    );
    let builder = PromptBuilder::new(tokenizer(), SystemText::Custom("S".into()), plugins).unwrap();
    let options = ChatOptions {
        sampling: SamplingParams::greedy(),
        ..ChatOptions::default()
    };
    (Chat::new(engine.clone(), builder, options), faults, engine)
}

/// Returns the text, and the error if there is one.
fn read(run: ChatRun<'_>) -> (String, Option<EngineError>) {
    let mut text = String::new();
    for event in run {
        match event {
            Event::Text { piece, .. } => text.push_str(&piece),
            Event::Failed(error) => return (text, Some(error)),
            _ => {}
        }
    }
    (text, None)
}

fn said(chat: &Chat) -> Vec<(String, String)> {
    chat.conversation()
        .turns
        .into_iter()
        .map(|turn| (turn.user, turn.moss))
        .collect()
}

fn pair(user: &str, moss: &str) -> (String, String) {
    (user.to_owned(), moss.to_owned())
}

/// The same, with prompts in one chunk: pass 0 gives the first token, pass 1 the second.
fn counting_chat() -> (Chat, Faults, Arc<Engine>) {
    chat(counting, None, 256)
}

#[test]
fn a_question_whose_prompt_fails_is_kept_and_can_be_asked_again() {
    let question = "这个问题很长，要分几次才能读完";
    for (fault, passes) in [Fault::Error, Fault::NonFinite]
        .into_iter()
        .flat_map(|fault| [(fault, 0), (fault, 1)])
    {
        let (mut chat, faults, _) = chat(counting, None, 8);
        read(chat.ask("a").unwrap());
        let kept = [pair("a", "这是第 1 个回答。"), pair(question, "")];
        faults.after(passes, fault);
        let (text, error) = read(chat.ask(question).unwrap());
        assert!(
            text.is_empty() && matches!(error, Some(EngineError::Model { step: 0, .. })),
            "{error:?}"
        );
        assert_eq!(said(&chat), kept);
        faults.after(0, fault);
        assert!(
            read(chat.regenerate().unwrap()).1.is_some(),
            "and again at once"
        );
        assert_eq!(said(&chat), kept);
        assert_eq!(read(chat.regenerate().unwrap()).0, "这是第 2 个回答。");
        assert_eq!(
            said(&chat),
            [kept[0].clone(), pair(question, "这是第 2 个回答。")]
        );
    }
}

#[test]
fn the_next_question_is_answered_and_the_model_is_not_shown_those_without_an_answer() {
    let (mut chat, faults, _) = counting_chat();
    for question in ["first", "second"] {
        faults.after(0, Fault::NonFinite);
        assert!(read(chat.ask(question).unwrap()).1.is_some());
    }
    assert_eq!(read(chat.ask("third").unwrap()).0, "这是第 1 个回答。");
    // Saving and loading changes nothing.
    let saved = chat.conversation().to_json().unwrap();
    chat.load(&Conversation::from_json(saved.as_bytes()).unwrap())
        .unwrap();
    let kept = [
        pair("first", ""),
        pair("second", ""),
        pair("third", "这是第 1 个回答。"),
    ];
    assert_eq!(said(&chat), kept);
    assert_eq!(read(chat.ask("fourth").unwrap()).0, "这是第 2 个回答。");
    assert_eq!(
        [chat.undo(), chat.undo(), chat.undo()].map(Option::unwrap),
        ["fourth", "third", "second"]
    );
}

#[test]
fn the_text_of_an_answer_that_fails_half_way_is_kept() {
    let whole = "这是第 1 个回答。";
    let tokens = tokenizer().encode(&format!(" {whole}<eom>")).unwrap().len();
    for fault in [Fault::Error, Fault::NonFinite, Fault::NanLogits] {
        for generated in 1..tokens {
            let (mut chat, faults, _) = counting_chat();
            faults.after(generated, fault);
            let (text, error) = read(chat.ask("a").unwrap());
            assert!(
                error.is_some() && whole.starts_with(text.trim_end_matches('\u{fffd}')),
                "{text}"
            );
            assert_eq!(
                (chat.turns()[0].reply.len(), said(&chat)),
                (generated, vec![pair("a", &text)])
            );
            faults.after(0, fault);
            assert!(
                read(chat.ask("b").unwrap()).1.is_some(),
                "and again at once"
            );
            assert_eq!(said(&chat), [pair("a", &text), pair("b", "")]);
            assert_eq!(read(chat.regenerate().unwrap()).0, "这是第 2 个回答。");
            assert_eq!([chat.undo(), chat.undo()].map(Option::unwrap), ["b", "a"]);
        }
    }
}

#[test]
fn of_two_halves_of_an_answer_the_longer_one_stays() {
    let (mut chat, faults, _) = counting_chat();
    let mut length_after = |passes, regenerate: bool| {
        faults.after(passes, Fault::Error);
        let run = if regenerate {
            chat.regenerate()
        } else {
            chat.ask("a")
        };
        assert!(read(run.unwrap()).1.is_some());
        chat.turns()[0].reply.len()
    };
    assert_eq!(length_after(2, false), 2);
    assert_eq!(
        [
            length_after(1, true),
            length_after(4, true),
            length_after(0, true)
        ],
        [2, 4, 4]
    );
    assert_eq!(chat.turns().len(), 1);
}

#[test]
fn results_are_asked_for_again_or_kept_with_what_was_said_of_them() {
    let plugins = || Some(PluginSwitches::new([Plugin::Calculator]).unwrap());
    let (mut chat, faults, _) = chat(calculating, plugins(), 256);
    read(chat.ask("6*7?").unwrap());
    let waiting = chat.turns().to_vec();
    for _ in 0..2 {
        faults.after(0, Fault::Error);
        assert!(read(chat.results("42").unwrap()).1.is_some());
        assert!(chat.awaits_results() && chat.turns() == waiting);
    }
    faults.after(2, Fault::Error);
    let (text, error) = read(chat.results("42").unwrap());
    assert!(
        error.is_some() && !text.is_empty() && "答案是 42。".starts_with(&text),
        "{text}"
    );
    let reply = tokenizer().decode(&chat.turns()[0].reply, Specials::Skip);
    assert!(
        reply.contains("Calculate") && reply.ends_with(&format!("\n42\n\n<|MOSS|>: {text}")),
        "{reply}"
    );
    assert!(!chat.awaits_results() && chat.turns().len() == 1);
}

#[test]
fn no_cache_block_is_lost_however_often_answers_fail() {
    let (mut chat, faults, engine) = counting_chat();
    for passes in 0..8 {
        faults.after(passes, Fault::Error);
        assert!(read(chat.ask("a").unwrap()).1.is_some());
        chat.undo();
    }
    assert_eq!(read(chat.ask("a").unwrap()).0, "这是第 1 个回答。");
    drop(chat);
    let free = |engine: &Engine| {
        let began = Instant::now();
        while engine.metrics().cache_blocks_used > 0 {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "{:?}",
                engine.metrics()
            );
            std::thread::yield_now();
        }
    };
    free(&engine);
    let model = ScriptedModel::new(97, 256, mix);
    let faults = model.faults.clone();
    let engine = model.start(options(), None);
    for passes in 0..8 {
        faults.after(passes, Fault::Error);
        assert!(
            engine
                .submit(greedy(&[1; 30], 200))
                .unwrap()
                .wait()
                .is_err()
        );
    }
    free(&engine);
    // This request needs all blocks.
    assert_eq!(
        engine
            .submit(greedy(&[1, 2], 254))
            .unwrap()
            .wait()
            .unwrap()
            .ids,
        expected(&[1, 2], 254)
    );
}
