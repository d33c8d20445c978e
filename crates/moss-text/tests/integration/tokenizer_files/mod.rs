//! Tokenizer files that are damaged, incomplete, or written by other programs.

mod kinds;
mod merges;

use std::{fs, path::PathBuf};

use moss_messages::Language;
use moss_testing::{demo, fixture};
use moss_text::{IdFault, Specials, TextError, Tokenizer, TokenizerFile};

const FILES: [&str; 5] = [
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
];
const TEXT: &str = "Hello, the   world!\n\t\t你好，世界 😀 <eom> don't";

fn case(name: &str) -> String {
    fs::read_to_string(fixture("cases").join(name)).unwrap()
}

/// A copy of the demo model's tokenizer.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for name in FILES {
            fs::copy(demo("moss-demo").join(name), folder.file(name)).unwrap();
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
        // Ordinary text, white space and unknown tokens cannot be declared special.
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
    // The flag `special` adds to the special tokens and removes none.
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
        let zh = Language::Zh.text(&error);
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
