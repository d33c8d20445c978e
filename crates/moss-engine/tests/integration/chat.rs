//! Conversations over a scripted model.

use moss_engine::{
    Chat, ChatOptions, ChatRun, EngineError, EngineOptions, Event, Outcome, StopCause,
};
use moss_sampling::SamplingParams;
use moss_testing::model::{Fault, ScriptedModel};
use moss_text::{Plugin, PluginSwitches, PromptBuilder, SegmentKind, SystemText, TextError};

use crate::support::{StartEngine, numbered, slow, tokenizer};

/// Generates "reply n" for the n-th question of a conversation.
fn counting(history: &[u32]) -> u32 {
    numbered(history, |shown| format!(" 回答 {shown}"))
}

fn chat_with(model: ScriptedModel, plugins: Option<PluginSwitches>) -> Chat {
    let engine = model.start(
        EngineOptions {
            threads: Some(1),
            ..EngineOptions::default()
        },
        Some(tokenizer()),
    );
    let builder = PromptBuilder::new(tokenizer(), SystemText::Custom("S".into()), plugins).unwrap();
    Chat::new(
        engine,
        builder,
        ChatOptions {
            sampling: SamplingParams::greedy(),
            ..ChatOptions::default()
        },
    )
}

fn chat() -> Chat {
    chat_with(ScriptedModel::new(1536, 256, counting), None)
}

/// Returns the text of the answer, its outcome, and the number of dropped turns.
fn read(run: ChatRun<'_>) -> (String, Outcome, usize) {
    let (mut text, mut dropped) = (String::new(), 0);
    for event in run {
        match event {
            Event::Text { piece, .. } => text.push_str(&piece),
            Event::TurnsDropped { count } => dropped = count,
            Event::Finished(outcome) => return (text, outcome, dropped),
            Event::Failed(error) => panic!("{error}"),
            _ => {}
        }
    }
    unreachable!("a run ends with its last event")
}

#[test]
fn a_second_turn_prefills_only_what_is_new() {
    let mut chat = chat();
    let (text, outcome, _) = read(chat.ask("你好").unwrap());
    assert_eq!(
        (text.as_str(), outcome.cause),
        ("回答 1", StopCause::EndOfTurn)
    );
    let (text, outcome, _) = read(chat.ask("再来😀").unwrap());
    assert_eq!(text, "回答 2");
    let new = tokenizer()
        .encode("\n<|Human|>: 再来😀<eoh>\n<|MOSS|>:")
        .unwrap()
        .len();
    // One more for <eom>, which was sampled and not processed.
    assert_eq!(outcome.usage.prefilled_tokens, new + 1);
}

#[test]
fn regenerate_and_undo_go_back_one_turn() {
    let mut chat = chat();
    read(chat.ask("a").unwrap());
    read(chat.ask("b").unwrap());
    let (text, outcome, _) = read(chat.regenerate().unwrap());
    assert_eq!((text.as_str(), chat.turns().len()), ("回答 2", 2));
    assert!(
        outcome.usage.prefilled_tokens <= 16,
        "the cache has the prompt except its last block, which the old reply has completed"
    );
    assert_eq!(chat.undo().as_deref(), Some("b"));
    assert_eq!(read(chat.ask("c").unwrap()).0, "回答 2");
    chat.clear();
    assert!(matches!(
        chat.regenerate(),
        Err(EngineError::NothingToRegenerate)
    ));
    assert_eq!(read(chat.ask("d").unwrap()).0, "回答 1");
}

#[test]
fn the_oldest_turns_go_when_the_window_is_full_and_are_reported() {
    let mut chat = chat();
    chat.options.max_new_tokens = Some(20);
    let mut total_dropped = 0;
    for _ in 0..12 {
        let (text, outcome, dropped) =
            read(chat.ask("这是一个有点长的问题，用来把窗口填满。").unwrap());
        assert!(text.starts_with("回答 "), "{text}");
        assert!(outcome.usage.prompt_tokens + 20 <= 256);
        total_dropped += dropped;
    }
    assert!(total_dropped > 0);
    assert_eq!(chat.turns().len(), 12, "nothing is lost for the record");
    let (used, window) = chat.context().unwrap();
    assert!(used <= window);
}

#[test]
fn a_message_that_alone_does_not_fit_is_refused_and_nothing_is_lost() {
    let mut chat = chat();
    chat.options.max_new_tokens = Some(20);
    read(chat.ask("a").unwrap());
    let Err(EngineError::Text(error)) = chat.ask(&"很长的话，".repeat(200)) else {
        panic!()
    };
    assert!(matches!(*error, TextError::TurnTooLong { .. }));
    assert_eq!(chat.turns().len(), 1);
    assert_eq!(read(chat.ask("b").unwrap()).0, "回答 2");
}

#[test]
fn the_text_of_an_answer_that_is_dropped_half_way_is_kept() {
    let mut chat = chat_with(ScriptedModel::new(1536, 256, counting).before(slow), None);
    let mut run = chat.ask("a").unwrap();
    run.find(|event| matches!(event, Event::Text { .. }))
        .unwrap();
    drop(run);
    assert_eq!(chat.turns().len(), 1);
    assert!(!chat.turns()[0].reply.is_empty());
    assert_eq!(
        read(chat.ask("b").unwrap()).0,
        "回答 2",
        "the next prompt closes the turn"
    );
}

#[test]
fn a_saved_conversation_continues_after_its_last_turn() {
    let mut one = chat();
    read(one.ask("a").unwrap());
    let saved = one.conversation();
    let mut two = chat();
    two.load(&saved).unwrap();
    assert_eq!(read(two.ask("b").unwrap()).0, "回答 2");
    assert_eq!(two.turns()[0], one.turns()[0]);
}

#[test]
fn plugin_turns_come_in_parts_and_wait_for_results() {
    let script = |history: &[u32]| {
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
        let ids = tokenizer.encode(reply).unwrap();
        ids.get(history.len() - start)
            .copied()
            .unwrap_or(special.eom)
    };
    let plugins = PluginSwitches::new([Plugin::Calculator]).unwrap();
    let mut chat = chat_with(ScriptedModel::new(1536, 256, script), Some(plugins));
    let parts = |run: ChatRun<'_>| {
        let mut parts: Vec<(SegmentKind, String)> = Vec::new();
        for event in run {
            if let Event::Text { kind, piece, .. } = event {
                match parts.last_mut() {
                    Some((last, text)) if *last == kind => text.push_str(&piece),
                    _ => parts.push((kind, piece)),
                }
            }
        }
        parts
    };
    let first = parts(chat.ask("6*7?").unwrap());
    assert_eq!(first[0], (SegmentKind::Thoughts, "要算一下".into()));
    assert_eq!(
        first[1],
        (SegmentKind::Commands, "Calculate(\"6*7\")".into())
    );
    assert_eq!(first.len(), 2);
    assert!(chat.awaits_results());
    assert_eq!(
        chat.pending_commands().as_deref(),
        Some("Calculate(\"6*7\")")
    );
    let second = parts(chat.results("42").unwrap());
    assert_eq!(second, [(SegmentKind::Answer, "答案是 42。".into())]);
    assert!(!chat.awaits_results() && chat.turns().len() == 1);
    assert!(matches!(
        chat.results("again"),
        Err(EngineError::NoPendingCommand)
    ));
}

#[test]
fn an_answer_made_again_but_cancelled_before_it_begins_leaves_the_old_one() {
    let mut chat = chat_with(ScriptedModel::new(1536, 256, counting).before(slow), None);
    read(chat.ask("你好").unwrap());
    let old = chat.turns().to_vec();
    let run = chat.regenerate().unwrap();
    run.cancel();
    assert_eq!(read(run).1.cause, StopCause::Cancelled);
    assert_eq!(chat.turns(), old);
    drop(chat.regenerate().unwrap());
    assert_eq!(chat.turns(), old, "dropped at once");
}

#[test]
fn an_answer_made_again_that_fails_half_way_leaves_the_old_one() {
    let model = ScriptedModel::new(1536, 256, counting);
    let passes = tokenizer().encode(" 回答 1<eom>").unwrap().len();
    model.faults.after(passes + 2, Fault::Error);
    let mut chat = chat_with(model, None);
    read(chat.ask("你好").unwrap());
    let old = chat.turns().to_vec();
    let events: Vec<_> = chat.regenerate().unwrap().collect();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Text { .. })),
        "it had begun"
    );
    assert!(matches!(events.last(), Some(Event::Failed(_))));
    assert_eq!(chat.turns(), old);
}

#[test]
fn a_question_cancelled_before_its_answer_begins_can_be_asked_again() {
    let mut chat = chat_with(ScriptedModel::new(1536, 256, counting).before(slow), None);
    let run = chat.ask("你好").unwrap();
    run.cancel_handle().cancel();
    assert_eq!(read(run).1.cause, StopCause::Cancelled);
    assert_eq!(read(chat.regenerate().unwrap()).0, "回答 1");
    assert_eq!(chat.turns().len(), 1);
}

#[test]
fn another_system_text_keeps_the_turns() {
    let mut chat = chat();
    read(chat.ask("a").unwrap());
    chat.set_system(SystemText::Custom("你是一只猫。".into()));
    let (text, outcome, _) = read(chat.ask("b").unwrap());
    assert_eq!((text.as_str(), chat.turns().len()), ("回答 2", 2));
    let same = tokenizer().encode("你是一只猫。").unwrap().len();
    assert!(
        outcome.usage.reused_tokens < same,
        "what follows the instruction is run again"
    );
}

/// Generates thoughts and `command`, and after results an answer.
fn thinking(command: &'static str) -> impl Fn(&[u32]) -> u32 + Send + 'static {
    move |history| {
        let tokenizer = tokenizer();
        let special = tokenizer.special().unwrap();
        let (start, reply) = match history.iter().rposition(|id| Some(*id) == special.eor) {
            Some(at) => (
                at + 1 + tokenizer.encode("\n<|MOSS|>:").unwrap().len(),
                " 你好！😀<eom>".to_owned(),
            ),
            None => (
                history.iter().rposition(|id| *id == special.eoh).unwrap() + 2,
                format!("<|Inner Thoughts|>: 打个招呼<eot>\n<|Commands|>: {command}<eoc>"),
            ),
        };
        let ids = tokenizer.encode(&reply).unwrap();
        ids.get(history.len() - start)
            .copied()
            .unwrap_or(special.eom)
    }
}

#[test]
fn a_reply_without_commands_continues_by_itself() {
    let plugins = PluginSwitches::new([Plugin::Calculator]).unwrap();
    let mut chat = chat_with(
        ScriptedModel::new(1536, 256, thinking("None")),
        Some(plugins),
    );
    let events: Vec<_> = chat.ask("你好").unwrap().collect();
    let started = events
        .iter()
        .filter(|event| matches!(event, Event::Started { .. }))
        .count();
    assert_eq!(started, 1);
    let answer: String = events
        .iter()
        .filter_map(|event| match event {
            Event::Text {
                kind: SegmentKind::Answer,
                piece,
                ..
            } => Some(piece.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(answer, "你好！😀");
    let Some(Event::Finished(outcome)) = events.last() else {
        panic!("{events:?}")
    };
    assert_eq!(outcome.cause, StopCause::EndOfTurn);
    let special = tokenizer().special().unwrap();
    assert!(
        outcome.ids.contains(&special.eoc.unwrap()) && outcome.ids.last() == Some(&special.eom)
    );
    assert_eq!(
        outcome.usage.generated_tokens,
        outcome.ids.len(),
        "results are not generated"
    );
    let metrics = chat.engine().metrics();
    let counts = [metrics.queue_time, metrics.first_token_time].map(|times| times.count());
    assert_eq!((metrics.requests, counts), (1, [1, 1]), "one request");
    assert_eq!(
        metrics.reused_requests, 0,
        "its own tokens do not count as a hit"
    );
    assert!(!chat.awaits_results());
    assert_eq!(chat.turns().len(), 1);
    assert!(
        chat.turns()[0].reply.contains(&special.eor.unwrap()),
        "results are part of the turn"
    );
    assert!(!chat.turns()[0].reply.is_empty() && chat.context().unwrap().0 < 256);
}

#[test]
fn a_cancel_handle_taken_at_the_start_ends_the_second_part_too() {
    let plugins = PluginSwitches::new([Plugin::Calculator]).unwrap();
    let mut chat = chat_with(
        ScriptedModel::new(1536, 256, thinking("None")).before(slow),
        Some(plugins),
    );
    let run = chat.ask("你好").unwrap();
    let cancel = run.cancel_handle();
    let mut last = None;
    for event in run {
        if matches!(
            &event,
            Event::Text {
                kind: SegmentKind::Answer,
                ..
            }
        ) {
            cancel.cancel();
        }
        last = Some(event);
    }
    let Some(Event::Finished(outcome)) = last else {
        panic!("{last:?}")
    };
    assert_eq!(outcome.cause, StopCause::Cancelled);
    assert!(
        outcome.text.contains("None"),
        "the first part is in it: {}",
        outcome.text
    );
}
