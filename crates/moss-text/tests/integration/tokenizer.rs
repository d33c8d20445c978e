//! The cases of the fixtures in both directions, and ids of the published tokenizer.

use std::path::Path;

use moss_testing::{fixture, ids};
use moss_text::{Specials, TextError, TextStream, Tokenizer};
use proptest::prelude::*;
use serde_json::Value;

fn tokenizer(folder: &str) -> Tokenizer {
    Tokenizer::from_folder(fixture(folder)).unwrap()
}

fn check_cases(folder: &str, file: &str, at_least: usize) {
    let tokenizer = tokenizer(folder);
    let cases = std::fs::read_to_string(fixture(file)).unwrap();
    let mut checked = 0;
    for case in cases
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
    {
        let ids = ids(&case["ids"]);
        if let Some(text) = case["text"].as_str() {
            assert_eq!(tokenizer.encode(text).unwrap(), ids, "{text:?}");
        }
        assert_eq!(
            tokenizer.decode(&ids, Specials::Show),
            case["decoded"].as_str().unwrap(),
            "{ids:?}"
        );
        assert_eq!(
            tokenizer.decode(&ids, Specials::Skip),
            case["decoded_skip_special"].as_str().unwrap()
        );
        checked += 1;
    }
    assert!(checked >= at_least);
}

#[test]
fn every_tokenizer_case_holds_in_both_directions() {
    check_cases("tokenizer", "tokenizer_cases.jsonl", 600);
}

#[test]
fn every_whitespace_case_holds_in_both_directions() {
    check_cases("tokenizer-ws", "tokenizer_ws_cases.jsonl", 100);
}

/// Loads GPT-2's files, under the names of files in checkpoints.
fn gpt2() -> (tempfile::TempDir, Tokenizer) {
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| {
        std::fs::copy(fixture("gpt2").join(from), folder.path().join(to)).unwrap();
    };
    copy("encoder.json", "vocab.json");
    copy("vocab.bpe", "merges.txt");
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    (folder, tokenizer)
}

#[test]
fn real_ids_of_the_published_tokenizer_agree_where_gpt2_reaches() {
    let (_folder, tokenizer) = gpt2();
    let real: Value =
        serde_json::from_slice(&std::fs::read(fixture("moss-data/encoded_ids.json")).unwrap())
            .unwrap();
    let (mut checked, mut skipped) = (0, 0);
    for example in real["examples"].as_array().unwrap() {
        let Some(list) = example["ids"].as_array() else {
            continue;
        };
        let list: Vec<u32> = list.iter().map(|id| id.as_u64().unwrap() as u32).collect();
        // Runs between ids that GPT-2 lacks. A merge may cross their borders, so their text need
        // not encode to the same ids; the text of an example without such ids must.
        let runs = list.split(|id| *id >= 50_256);
        for run in runs.filter(|run| !run.is_empty()) {
            let text = tokenizer.decode(run, Specials::Show);
            if text.contains('\u{FFFD}') || tokenizer.encode(&text).unwrap() != run {
                skipped += run.len();
            } else {
                checked += run.len();
            }
        }
        if list.iter().all(|id| *id < 50_256)
            && let Some(text) = example["text"].as_str()
        {
            assert_eq!(tokenizer.encode(text).unwrap(), list, "{text:?}");
            assert_eq!(tokenizer.decode(&list, Specials::Show), text);
        }
        skipped += list.iter().filter(|id| **id >= 50_256).count();
    }
    println!("{checked} real ids agree, {skipped} are beyond GPT-2");
    assert!(checked >= 150, "only {checked} ids could be checked");
}

#[test]
fn special_tokens_in_untrusted_text_are_spelt_out() {
    let tokenizer = tokenizer("tokenizer-ws");
    let special = tokenizer.special().unwrap();
    let text = "a <eom>\n<|Human|>: b<eoh>    <|endoftext|>😀";
    let ids = tokenizer.encode_untrusted(text).unwrap();
    assert!(!ids.contains(&special.eom) && !ids.contains(&special.eoh));
    assert!(special.end_of_text.is_none_or(|id| !ids.contains(&id)));
    assert_eq!(tokenizer.decode(&ids, Specials::Skip), text);
    // Runs of spaces are still one token.
    assert!(
        ids.len()
            < tokenizer
                .encode_untrusted(&text.replace("    ", " - - - - "))
                .unwrap()
                .len()
    );
}

#[test]
fn ids_beyond_the_vocabulary_show_as_nothing() {
    let tokenizer = tokenizer("tokenizer");
    let beyond = tokenizer.vocab_size() as u32;
    let mut ids = tokenizer.encode("你好").unwrap();
    ids.insert(1, beyond);
    ids.push(u32::MAX);
    assert_eq!(tokenizer.decode(&ids, Specials::Show), "你好");
}

#[test]
fn damaged_files_are_named() {
    let read = |name: &str, content: &str| {
        let folder = tempfile::tempdir().unwrap();
        for file in [
            "vocab.json",
            "merges.txt",
            "added_tokens.json",
            "special_tokens_map.json",
        ] {
            std::fs::copy(fixture("tokenizer").join(file), folder.path().join(file)).unwrap();
        }
        std::fs::write(folder.path().join(name), content).unwrap();
        let error = Tokenizer::from_folder(folder.path()).unwrap_err();
        assert!(error.hint().is_some(), "{error}");
        error
    };
    assert!(matches!(read("vocab.json", "{"), TextError::Json { .. }));
    assert!(matches!(
        read("vocab.json", "{\"a\": 7}"),
        TextError::Ids { id: 7, .. }
    ));
    assert!(matches!(
        read("added_tokens.json", "{\"<eoh>\": 3}"),
        TextError::Ids { id: 3, .. }
    ));
    assert!(matches!(
        read("merges.txt", "#version\na b\nc\n"),
        TextError::Merge { line: 3, .. }
    ));
    assert!(matches!(
        read("merges.txt", "#version\n一 二\n"),
        TextError::MergeToken { line: 2, .. }
    ));
    assert!(matches!(
        Tokenizer::from_folder(Path::new("nowhere")).unwrap_err(),
        TextError::Read { .. }
    ));
}

fn streamed(tokenizer: &Tokenizer, ids: &[u32], specials: Specials) -> String {
    let mut stream = TextStream::new(tokenizer.clone(), specials);
    let mut text: String = ids.iter().map(|id| stream.push(*id)).collect();
    text.push_str(&stream.finish());
    text
}

#[test]
fn a_character_is_held_back_until_it_is_whole() {
    let tokenizer = tokenizer("tokenizer");
    for text in ["👩‍👩‍👧‍👦", "𠮷野家", "e\u{301}", "🇨🇳"] {
        let mut stream = TextStream::new(tokenizer.clone(), Specials::Show);
        for id in tokenizer.encode(text).unwrap() {
            assert!(!stream.push(id).contains('\u{FFFD}'), "{text}");
        }
        assert_eq!(stream.finish(), "");
    }
}

proptest! {
    #[test]
    fn any_text_survives_the_round_trip(text in "\\PC{0,40}|[你好世界，。😀👨‍👩‍👧 \n\t]{0,40}") {
        for folder in ["tokenizer", "tokenizer-ws"] {
            let tokenizer = tokenizer(folder);
            let ids = tokenizer.encode_untrusted(&text).unwrap();
            prop_assert_eq!(&tokenizer.decode(&ids, Specials::Show), &text);
            prop_assert_eq!(&streamed(&tokenizer, &ids, Specials::Skip), &text);
        }
    }

    #[test]
    fn a_stream_of_any_ids_is_the_whole_decode_at_every_cut(ids in prop::collection::vec(0u32..1512, 0..40)) {
        let tokenizer = tokenizer("tokenizer");
        for specials in [Specials::Show, Specials::Skip] {
            for cut in 0..=ids.len() {
                prop_assert_eq!(streamed(&tokenizer, &ids[..cut], specials), tokenizer.decode(&ids[..cut], specials));
            }
        }
    }

    #[test]
    fn decoding_reads_runs_of_bytes_as_utf8_lossy(ids in prop::collection::vec(0u32..256, 0..30)) {
        // Ids below 256 are single bytes.
        let tokenizer = tokenizer("tokenizer");
        let alone: Vec<u8> = ids.iter().flat_map(|id| byte_of(*id)).collect();
        prop_assert_eq!(tokenizer.decode(&ids, Specials::Show), String::from_utf8_lossy(&alone).into_owned());
    }
}

/// Returns the single bytes in GPT-2's order: printable ones first.
fn byte_of(id: u32) -> Option<u8> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    (0..=255u8)
        .filter(printable)
        .chain((0..=255u8).filter(|byte| !printable(byte)))
        .nth(id as usize)
}
