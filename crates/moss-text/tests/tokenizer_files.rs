//! Tokenizer files that are damaged, incomplete, of another writer, or no files at all.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use moss_messages::Language;
use moss_text::{IdFault, Specials, TextError, Tokenizer, TokenizerFile};

const FILES: [&str; 5] = [
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
];
const TEXT: &str = "Hello, the   world!\n\t\t你好，世界 😀 <eom> don't";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn case(name: &str) -> String {
    fs::read_to_string(root().join("tests/fixtures/cases").join(name)).unwrap()
}

/// A copy of the demo model's tokenizer.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for name in FILES {
            fs::copy(
                root().join("examples/demo/moss-demo").join(name),
                folder.file(name),
            )
            .unwrap();
        }
        folder
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.file(name), content).unwrap();
        self
    }

    fn without(self, name: &str) -> Self {
        fs::remove_file(self.file(name)).unwrap();
        self
    }

    fn open(&self) -> Result<Tokenizer, TextError> {
        Tokenizer::from_folder(self.0.path())
    }

    fn error(&self) -> TextError {
        let error = self.open().unwrap_err();
        let zh = moss_messages::hint(moss_messages::Language::Zh, &error);
        assert_eq!(error.hint().is_some(), zh.is_some());
        error
    }
}

fn same(found: &Tokenizer) {
    let expected = Folder::new().open().unwrap();
    assert_eq!(found.vocab_size(), expected.vocab_size());
    assert_eq!(found.special().unwrap(), expected.special().unwrap());
    assert_eq!(found.encode(TEXT).unwrap(), expected.encode(TEXT).unwrap());
    assert_eq!(
        found.encode_untrusted(TEXT).unwrap(),
        expected.encode_untrusted(TEXT).unwrap()
    );
    let all: Vec<u32> = (0..expected.vocab_size() as u32).collect();
    for specials in [Specials::Show, Specials::Skip] {
        assert_eq!(
            found.decode(&all, specials),
            expected.decode(&all, specials)
        );
    }
}

#[test]
fn special_tokens_are_special_whatever_special_tokens_map_contains() {
    same(
        &Folder::new()
            .without("special_tokens_map.json")
            .open()
            .unwrap(),
    );
    let maps = [
        case("special_tokens_map-empty.json").as_str(),
        "null",
        r#"{"eos_token": null, "additional_special_tokens": []}"#,
        r#"{"eos_token": "<|endoftext|>"}"#,
        r#"{"additional_special_tokens": ["<eoh>"], "bos_token": {"content": "<eom>", "lstrip": true}}"#,
        // Ordinary text, white space and what is no token at all cannot be made to disappear from
        // answers.
        r#"{"eos_token": "the", "pad_token": "a", "bos_token": "Ġ", "sep_token": "", "x": ["   ", "\t\t", "Ġthe"]}"#,
        r#"{"eos_token": 7, "pad_token": true, "unk_token": {"id": 3}, "x": {"y": {"content": ["<eoc>", 1]}}}"#,
    ]
    .map(str::to_owned);
    for map in maps {
        same(
            &Folder::new()
                .with("special_tokens_map.json", &map)
                .open()
                .unwrap_or_else(|error| panic!("{map}: {error}")),
        );
    }
    let declared = r#"{"additional_special_tokens": ["<eof>"]}"#;
    let folder = Folder::new()
        .without("tokenizer_config.json")
        .with("special_tokens_map.json", declared);
    let added = folder
        .text("added_tokens.json")
        .replace('}', ", \"<eof>\": 2744, \"<plain>\": 2745}");
    let tokenizer = folder.with("added_tokens.json", added).open().unwrap();
    assert_eq!(
        tokenizer.decode(&[2744, 2745], Specials::Skip),
        "<plain>",
        "others may be declared"
    );
    for broken in ["", "[]", "{", "\"<eom>\""] {
        let error = Folder::new()
            .with("special_tokens_map.json", broken)
            .error();
        assert!(
            matches!(
                error,
                TextError::Json {
                    what: TokenizerFile::SpecialTokens,
                    ..
                }
            ),
            "{broken}: {error}"
        );
    }
}

#[test]
fn added_tokens_decoder_of_transformers_5_stands_in_for_added_tokens_json() {
    let config = case("tokenizer_config-transformers5-added_tokens_decoder.json");
    let both = Folder::new().with("tokenizer_config.json", &config);
    same(&both.open().unwrap());
    let alone = both
        .without("added_tokens.json")
        .without("special_tokens_map.json");
    same(&alone.open().unwrap());
    // Its own flag makes a token special, and takes nothing away from those that always are.
    let decoder = r#"{"added_tokens_decoder": {"2701": {"content": "<x>", "special": true},
        "2702": {"content": "<y>"}, "2703": {"content": "<eom>", "special": false}}}"#;
    let tokenizer = Folder::new()
        .without("added_tokens.json")
        .with("tokenizer_config.json", decoder)
        .open()
        .unwrap();
    assert_eq!(tokenizer.decode(&[2701, 2702, 2703], Specials::Skip), "<y>");
    for none in [
        "{}",
        r#"{"added_tokens_decoder": null}"#,
        r#"{"added_tokens_decoder": {}}"#,
    ] {
        same(
            &Folder::new()
                .with("tokenizer_config.json", none)
                .open()
                .unwrap(),
        );
    }
    let neither = Folder::new()
        .without("added_tokens.json")
        .without("tokenizer_config.json");
    let error = neither.open().unwrap().special().unwrap_err();
    assert!(
        matches!(error, TextError::MissingSpecial { .. })
            && error.hint().unwrap().contains("added_tokens")
    );
}

#[test]
fn two_lists_of_added_tokens_that_contradict_each_other_are_an_error() {
    let config = case("tokenizer_config-transformers5-added_tokens_decoder.json");
    let entry = |id: u32, content: &str| {
        format!(r#"{{"added_tokens_decoder": {{"{id}": {{"content": "{content}"}}}}}}"#)
    };
    let eom = Folder::new().open().unwrap().special().unwrap().eom;
    let swapped = config
        .replace("<eom>", "<tmp>")
        .replace("<eoh>", "<eom>")
        .replace("<tmp>", "<eoh>");
    for config in [
        swapped,
        entry(eom, "<eoh>"),
        entry(eom + 1, "<eom>"),
        entry(eom, "other"),
        entry(7, "<|endoftext|>"),
    ] {
        let error = Folder::new().with("tokenizer_config.json", &config).error();
        assert!(
            matches!(error, TextError::AddedTokens { .. }),
            "{config}: {error}"
        );
    }
    let error = Folder::new()
        .with("tokenizer_config.json", entry(9_999_999, "<new>"))
        .error();
    assert!(
        matches!(error, TextError::Ids { id: 9_999_999, .. }),
        "{error}"
    );
    let error = Folder::new()
        .with("tokenizer_config.json", entry(7, "<new>"))
        .error();
    assert!(
        matches!(
            error,
            TextError::Ids {
                id: 7,
                found: IdFault::Twice,
                ..
            }
        ),
        "{error}"
    );
    let error = Folder::new()
        .with(
            "tokenizer_config.json",
            r#"{"added_tokens_decoder": {"x": {}}}"#,
        )
        .error();
    assert!(
        matches!(
            error,
            TextError::Json {
                what: TokenizerFile::Config,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn settings_that_would_change_the_ids_of_texts_are_refused() {
    let decoder = case("tokenizer_config-transformers5-added_tokens_decoder.json");
    let mut json: serde_json::Value = serde_json::from_str(&decoder).unwrap();
    let refused = |json: &serde_json::Value, name: &str| {
        let folder = Folder::new().with("tokenizer_config.json", json.to_string());
        let error = folder.error();
        assert!(
            matches!(&error, TextError::Unsupported { option, .. } if *option == name),
            "{error}"
        );
        let zh = moss_messages::text(Language::Zh, &error);
        assert!(error.to_string().contains(name) && zh.contains(name));
    };
    for option in ["add_prefix_space", "add_bos_token"] {
        json[option] = true.into();
        refused(&json, option);
        json[option] = serde_json::Value::Null;
    }
    for option in ["lstrip", "rstrip", "single_word"] {
        json["added_tokens_decoder"]["2740"][option] = true.into();
        refused(&json, option);
        json["added_tokens_decoder"]["2740"][option] = false.into();
    }
    let folder = Folder::new().with("tokenizer_config.json", json.to_string());
    same(&folder.open().unwrap());
}

/// Lines of merges.txt, without the header.
fn rules() -> Vec<String> {
    Folder::new()
        .text("merges.txt")
        .lines()
        .skip(1)
        .map(str::to_owned)
        .collect()
}

fn merged(lines: &[String]) -> Result<Tokenizer, TextError> {
    Folder::new()
        .with(
            "merges.txt",
            format!("#version: 0.2\n{}\n", lines.join("\n")),
        )
        .open()
}

#[test]
fn a_vocabulary_entry_that_no_merge_makes_is_reported_as_the_first_one() {
    let rules = rules();
    let count = rules.len();
    let missing = |content: &str, first: u32, missing: usize| {
        let error = Folder::new().with("merges.txt", content).error();
        let TextError::NoMerge { id, count, .. } = error else {
            panic!("{error}")
        };
        assert_eq!((id, count), (first, missing));
    };
    let joined = rules.join("\n");
    missing(&case("merges-header-only.txt"), 256, count);
    missing("", 256, count);
    missing("\n\n\n", 256, count);
    let cut = rules[..count - 100].join("\n");
    missing(
        &format!("#version: 0.2\n{cut}\n"),
        256 + count as u32 - 100,
        100,
    );
    // A line in the middle of which no other line makes use.
    let used = |line: &String| {
        let token = line.replace(' ', "");
        rules
            .iter()
            .any(|other| other.split(' ').any(|part| part == token))
    };
    let unused = rules.iter().position(|line| !used(line)).unwrap();
    let others: Vec<&str> = rules
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != unused)
        .map(|(_, line)| line.as_str())
        .collect();
    missing(&others.join("\n"), 256 + unused as u32, 1);
    // Cut off in the middle of a line.
    let cut: String = joined
        .chars()
        .take(joined.chars().count() * 2 / 3)
        .collect();
    let error = Folder::new().with("merges.txt", cut).error();
    assert!(
        matches!(
            error,
            TextError::NoMerge { .. } | TextError::MergeToken { .. } | TextError::Merge { .. }
        ),
        "{error}"
    );
}

#[test]
fn merges_in_another_order_than_the_vocabulary_are_reported() {
    let rules = rules();
    assert!(merged(&rules).is_ok());
    let inconsistent = |lines: &[String], what: &str| {
        let error = merged(lines).unwrap_err();
        let is_order = matches!(
            error,
            TextError::MergePart { .. } | TextError::MergeOrder { .. }
        );
        assert!(is_order && error.hint().is_some(), "{what}: {error}");
    };
    let mut reversed = rules.clone();
    reversed.reverse();
    inconsistent(&reversed, "reversed");
    let mut rotated = rules.clone();
    rotated.rotate_left(rules.len() / 2);
    inconsistent(&rotated, "rotated");
    let mut shuffled = rules.clone();
    let mut state = 7u64;
    for index in (1..shuffled.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        shuffled.swap(index, (state >> 33) as usize % (index + 1));
    }
    inconsistent(&shuffled, "shuffled");
    let mut end = rules.clone();
    end[rules.len() - 100..].reverse();
    inconsistent(&end, "the last hundred reversed");
    let mut sorted = rules.clone();
    sorted.sort();
    inconsistent(&sorted, "sorted");
    for index in (0..rules.len() - 1).step_by(61) {
        let mut swapped = rules.clone();
        swapped.swap(index, index + 1);
        inconsistent(&swapped, "two neighbours swapped");
    }
    // Shuffled and still consistent: each part is made by an earlier line.
    let mut rest = shuffled;
    let mut made = std::collections::HashSet::new();
    let mut consistent = Vec::new();
    while !rest.is_empty() {
        let is_made = |part: &str| part.chars().count() == 1 || made.contains(part);
        let next = rest.iter().position(|line| line.split(' ').all(is_made));
        let line = rest.remove(next.unwrap());
        made.insert(line.replace(' ', ""));
        consistent.push(line);
    }
    inconsistent(&consistent, "shuffled, with every part made before");
    let mut pairs = rules.clone();
    for pair in pairs.chunks_exact_mut(2) {
        if !pair[1]
            .split(' ')
            .any(|part| part == pair[0].replace(' ', ""))
        {
            pair.swap(0, 1);
        }
    }
    inconsistent(&pairs, "every pair of neighbours swapped that can be");
    let twice = [&rules[..], &rules[..1]].concat();
    assert!(matches!(
        merged(&twice).unwrap_err(),
        TextError::MergeTwice { .. }
    ));
    let foreign = [&rules[..], &["Q Q".to_owned()]].concat();
    assert!(matches!(
        merged(&foreign).unwrap_err(),
        TextError::MergeToken { .. }
    ));
}

#[test]
fn a_vocabulary_that_is_not_numbered_by_its_merges_is_accepted() {
    // As RoBERTa's, whose ids go by frequency.
    let folder = Folder::new();
    let vocab: std::collections::BTreeMap<String, u32> =
        serde_json::from_str(&folder.text("vocab.json")).unwrap();
    let count = vocab.len() as u32;
    let renumbered: std::collections::BTreeMap<_, _> = vocab
        .iter()
        .map(|(text, id)| (text.clone(), (id * 997 + 13) % count))
        .collect();
    assert!(!count.is_multiple_of(997));
    let folder = folder.without("tokenizer_config.json");
    let tokenizer = folder
        .with("vocab.json", serde_json::to_string(&renumbered).unwrap())
        .open()
        .unwrap();
    assert_eq!(
        tokenizer.decode(&tokenizer.encode(TEXT).unwrap(), Specials::Show),
        TEXT
    );
}

#[test]
fn a_vocabulary_that_lacks_a_byte_is_an_error() {
    let folder = Folder::new();
    let swapped = folder
        .text("vocab.json")
        .replacen("\"\\u00ff\"", "\"Q Q Q\"", 1)
        .replacen("\"ÿ\"", "\"Q Q Q\"", 1);
    let listed = r#"{"unk_token": "Q Q Q"}"#;
    let error = folder
        .with("vocab.json", swapped)
        .with("special_tokens_map.json", listed)
        .error();
    assert!(
        matches!(error, TextError::MissingByte { byte: 255, .. }),
        "{error}"
    );
}

#[test]
fn byte_order_marks_and_crlf_change_nothing_and_other_encodings_are_named() {
    for name in FILES {
        let folder = Folder::new();
        let text = folder.text(name);
        same(&folder.with(name, format!("\u{FEFF}{text}")).open().unwrap());
        same(
            &Folder::new()
                .with(name, text.replace('\n', "\r\n"))
                .open()
                .unwrap(),
        );
        same(
            &Folder::new()
                .with(name, format!("\u{FEFF}{}", text.replace('\n', "\r\n")))
                .open()
                .unwrap(),
        );
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for mark in [&b"\xFF\xFE"[..], b""] {
            let error = Folder::new().with(name, [mark, &wide].concat()).error();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(
                cause.contains("UTF-16") && error.to_string().contains(name),
                "{error}: {cause}"
            );
        }
    }
    let cr = Folder::new().text("merges.txt").replace('\n', "\r");
    assert!(matches!(
        Folder::new().with("merges.txt", cr).error(),
        TextError::LineEnd { line: 1, .. }
    ));
}

#[cfg(unix)]
#[test]
fn pipes_devices_and_huge_files_in_place_of_tokenizer_files_are_refused_at_once() {
    let refused = |folder: &Folder, name: &str, why: &str| {
        let error = folder.error();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            error.to_string().contains(name) && cause.contains(why),
            "{error}: {cause}"
        );
    };
    for name in FILES {
        let folder = Folder::new().without(name);
        assert!(
            std::process::Command::new("mkfifo")
                .arg(folder.file(name))
                .status()
                .unwrap()
                .success()
        );
        refused(&folder, name, "a named pipe");
        let link = |target: &Path| {
            let folder = Folder::new().without(name);
            std::os::unix::fs::symlink(target, folder.file(name)).unwrap();
            folder
        };
        refused(&link(Path::new("/dev/zero")), name, "a device");
        refused(&link(Path::new("nowhere")), name, "a dangling link");
        refused(&link(&std::env::temp_dir()), name, "a folder");
        let folder = Folder::new();
        fs::File::create(folder.file(name))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        refused(&folder, name, "larger than");
    }
}

#[test]
fn a_folder_with_tokenizer_json_alone_is_told_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    let error = Tokenizer::from_folder(folder.path()).unwrap_err();
    assert!(matches!(error, TextError::TokenizerJson { .. }), "{error}");
    assert!(error.hint().unwrap().contains("vocab.json"), "{error}");
    assert!(!Tokenizer::is_present(folder.path()));
    fs::write(folder.path().join("vocab.json"), "{}").unwrap();
    assert!(
        Tokenizer::is_present(folder.path()),
        "half a tokenizer is no reason to go on without one"
    );
    assert!(matches!(
        Tokenizer::from_folder(folder.path()).unwrap_err(),
        TextError::Read { .. }
    ));
}

#[test]
fn an_unknown_id_is_named_with_its_place() {
    let tokenizer = Folder::new().open().unwrap();
    let tokens = tokenizer.vocab_size();
    assert!(tokenizer.check_ids(&[0, tokens as u32 - 1]).is_ok());
    let error = tokenizer
        .check_ids(&[5, tokens as u32, u32::MAX])
        .unwrap_err();
    assert!(
        matches!(error, TextError::UnknownId { position: 1, id, tokens: all } if id as usize == tokens && all == tokens)
    );
}
