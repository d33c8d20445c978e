//! A chat whose system prompt was read from a file gives the ids of a chat that computes it.

use std::{fs, path::Path};

use moss::{
    Builder, ChatOptions, Event, Outcome, SamplingParams,
    model::{ComputeDtype, DeviceSpec},
    prompt_cache::PromptCache,
};
use moss_testing::{demo, file_names};

/// Messages whose answers differ.
const MESSAGES: [&str; 2] = ["推荐五部科幻电影", "What is 3 + 4?"];

fn builder(model: &str, sampling: SamplingParams) -> Builder {
    Builder::folder(demo(model))
        .devices(vec![DeviceSpec::Cpu])
        .chat_options(ChatOptions {
            sampling,
            max_new_tokens: Some(40),
            ..ChatOptions::default()
        })
}

/// Asks all messages in one chat. Returns the outcomes, and the tokens that were read from the file.
fn ask(builder: Builder, cache: &PromptCache) -> (Vec<Outcome>, usize) {
    let (mut chat, stored) = builder.find().unwrap().cached_chat(cache).unwrap();
    let answer = |message: &&str| match chat.ask(message).unwrap().last() {
        Some(Event::Finished(outcome)) => outcome,
        other => panic!("{other:?}"),
    };
    let outcomes = MESSAGES.iter().map(answer).collect();
    let tokens = stored.tokens();
    stored.finish();
    (outcomes, tokens)
}

fn ids(outcomes: &[Outcome]) -> Vec<&[u32]> {
    outcomes.iter().map(|outcome| &*outcome.ids).collect()
}

fn cached_files(folder: &Path) -> usize {
    let names = file_names(folder).into_iter();
    names.filter(|name| name.ends_with(".moss-kv")).count()
}

#[test]
fn an_imported_system_prompt_gives_the_ids_of_a_cold_start() {
    let hot = SamplingParams {
        temperature: 1.3,
        seed: Some(7),
        ..SamplingParams::CHAT
    };
    for model in ["moss-demo", "moss-demo-int4"] {
        let folder = tempfile::tempdir().unwrap();
        let cache = PromptCache::new(folder.path().to_owned(), PromptCache::MAX_BYTES);
        for (index, sampling) in [SamplingParams::greedy(), hot.clone()]
            .into_iter()
            .enumerate()
        {
            let (first, read) = ask(builder(model, sampling.clone()), &cache);
            assert_eq!(read > 0, index > 0, "the first start finds no file");
            let (second, tokens) = ask(builder(model, sampling), &cache);
            assert_eq!(ids(&second), ids(&first));
            assert!(tokens > 300, "{tokens}");
            assert!(second[0].usage.reused_tokens >= tokens);
            assert_eq!(cached_files(folder.path()), 1);
        }
    }
}

#[test]
fn a_file_is_used_only_for_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let cache = PromptCache::new(folder.path().to_owned(), PromptCache::MAX_BYTES);
    let greedy = || builder("moss-demo-int4", SamplingParams::greedy());
    let others = [
        greedy(),
        builder("moss-demo", SamplingParams::greedy()),
        greedy().dtype(ComputeDtype::F16),
        greedy().system(moss::SystemText::Custom("You are MOSS. ".repeat(20))),
    ];
    let all = others.len();
    for (files, other) in others.into_iter().enumerate() {
        let (_, read) = ask(other, &cache);
        assert_eq!((read, cached_files(folder.path())), (0, files + 1));
    }
    assert!(ask(greedy(), &cache).1 > 0);
    // Another number of threads and of stages computes the same bits.
    let split = greedy().devices(vec![DeviceSpec::Cpu; 2]).threads(1);
    assert!(ask(split, &cache).1 > 0);
    assert_eq!(cached_files(folder.path()), all);
}

#[test]
fn damaged_and_incomplete_files_are_ignored_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let cache = PromptCache::new(folder.path().to_owned(), PromptCache::MAX_BYTES);
    let greedy = || builder("moss-demo-int4", SamplingParams::greedy());
    let (cold, _) = ask(greedy(), &cache);
    let path = cache.list().unwrap().remove(0).path;
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    let last = flipped.len() - 100;
    flipped[last] ^= 1;
    let cases: [&[u8]; 4] = [&[], b"not a cache", &whole[..whole.len() / 2], &flipped];
    for bytes in cases {
        fs::write(&path, bytes).unwrap();
        let (outcomes, _) = ask(greedy(), &cache);
        assert_eq!(ids(&outcomes), ids(&cold));
        assert!(
            fs::read(&path).unwrap() == whole,
            "the file was not replaced"
        );
    }
}

#[test]
fn a_chat_that_is_dropped_before_its_first_reply_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cache = PromptCache::new(folder.path().join("prompts"), PromptCache::MAX_BYTES);
    let found = builder("moss-demo-int4", SamplingParams::greedy()).find();
    let (chat, stored) = found.unwrap().cached_chat(&cache).unwrap();
    stored.finish();
    drop(chat);
    assert!(!cache.folder().exists());
}
