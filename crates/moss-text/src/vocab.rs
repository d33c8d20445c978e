//! The tokenizer files: `vocab.json`, `merges.txt`, `added_tokens.json`, `special_tokens_map.json`,
//! `tokenizer_config.json`.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

use ahash::AHashMap;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{IdFault, TextError, TokenizerFile, merges, special};

/// The content of the files, checked.
pub(crate) struct Vocab {
    pub(crate) folder: PathBuf,
    /// Byte-level tokens.
    pub(crate) base: AHashMap<String, u32>,
    pub(crate) merges: Vec<(String, String)>,
    /// Tokens that are matched before BPE.
    pub(crate) added: BTreeMap<String, u32>,
    /// The special tokens among these and `base`.
    pub(crate) special: HashSet<String>,
}

/// An entry of `added_tokens_decoder` in `tokenizer_config.json`.
#[derive(Deserialize)]
struct DecoderEntry {
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    single_word: bool,
}

/// The part of `tokenizer_config.json` that is used.
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    #[serde(default)]
    added_tokens_decoder: Option<BTreeMap<u32, DecoderEntry>>,
    #[serde(default)]
    add_prefix_space: Option<bool>,
    #[serde(default)]
    add_bos_token: Option<bool>,
}

impl TokenizerConfig {
    /// Rejects settings that change the ids of a text and that MOSS's tokenizers do not have.
    fn check(&self, file: &Path) -> Result<(), TextError> {
        let unsupported = |option: &'static str, token: Option<&str>| {
            Err(TextError::Unsupported {
                file: file.to_owned(),
                option,
                token: token.map(str::to_owned),
            })
        };
        let whole = [
            ("add_prefix_space", self.add_prefix_space),
            ("add_bos_token", self.add_bos_token),
        ];
        if let Some((option, _)) = whole.into_iter().find(|(_, value)| *value == Some(true)) {
            return unsupported(option, None);
        }
        for entry in self.added_tokens_decoder.iter().flat_map(BTreeMap::values) {
            let options = [
                ("lstrip", entry.lstrip),
                ("rstrip", entry.rstrip),
                ("single_word", entry.single_word),
            ];
            if let Some((option, _)) = options.into_iter().find(|(_, value)| *value) {
                return unsupported(option, Some(&entry.content));
            }
        }
        Ok(())
    }
}

impl Vocab {
    pub(crate) fn read(folder: &Path) -> Result<Self, TextError> {
        let file = |name: &str| folder.join(name);
        let only_json = ["vocab.json", "merges.txt"]
            .iter()
            .all(|name| !exists(&file(name)));
        if only_json && exists(&file("tokenizer.json")) {
            return Err(TextError::TokenizerJson {
                file: file("tokenizer.json"),
            });
        }
        let base: AHashMap<String, u32> = json(&file("vocab.json"), TokenizerFile::Vocabulary)?;
        let lines = merges::read(&file("merges.txt"))?;
        let listed: Option<BTreeMap<String, u32>> =
            optional(&file("added_tokens.json"), TokenizerFile::AddedTokens)?;
        let config: Option<TokenizerConfig> =
            optional(&file("tokenizer_config.json"), TokenizerFile::Config)?;
        let map: Option<serde_json::Map<String, Value>> = optional(
            &file("special_tokens_map.json"),
            TokenizerFile::SpecialTokens,
        )?;

        let mut added = listed.unwrap_or_default();
        let mut declared = HashSet::new();
        let config = config.unwrap_or_default();
        config.check(&file("tokenizer_config.json"))?;
        let decoder = config.added_tokens_decoder.unwrap_or_default();
        merge_decoder(&decoder, &base, &mut added, folder)?;
        declared.extend(
            decoder
                .into_values()
                .filter(|entry| entry.special)
                .map(|entry| entry.content),
        );
        for entry in map
            .into_iter()
            .flat_map(|map| map.into_iter().map(|(_, entry)| entry))
        {
            collect(entry, &mut declared);
        }
        declared.extend(special::NAMES.map(str::to_owned));

        let tokens = by_id(&base, &added, folder)?;
        let needs_merge = |text: &str| !(added.contains_key(text) || declared.contains(text));
        let made = merges::check(&base, &tokens, &lines, &file("merges.txt"), needs_merge)?;
        if let Some(byte) = byte_level_alphabet()
            .into_iter()
            .find(|(c, _)| !base.contains_key(c.to_string().as_str()))
        {
            return Err(TextError::MissingByte {
                folder: folder.to_owned(),
                byte: byte.1,
            });
        }
        // Files may declare ordinary text or white space as special. These tokens stay text, because
        // they would otherwise be missing in replies.
        declared.retain(|text| {
            let is_ordinary = base.get(text).is_some_and(|id| made[*id as usize]);
            special::NAMES.contains(&text.as_str()) || !(is_ordinary || text.trim().is_empty())
        });
        let merges = lines
            .into_iter()
            .map(|line| (line.first, line.second))
            .collect();
        Ok(Self {
            folder: folder.to_owned(),
            base,
            merges,
            added,
            special: declared,
        })
    }
}

/// Returns the text of every id. Each id must occur once.
pub(crate) fn by_id<'a>(
    base: &'a AHashMap<String, u32>,
    added: &'a BTreeMap<String, u32>,
    folder: &Path,
) -> Result<Vec<&'a str>, TextError> {
    let count = base.len()
        + added
            .keys()
            .filter(|text| !base.contains_key(*text))
            .count();
    let ids_error = |id, found| TextError::Ids {
        folder: folder.to_owned(),
        id,
        found,
        last: (count as u32).saturating_sub(1),
    };
    let mut tokens: Vec<Option<&str>> = vec![None; count];
    for (text, &id) in base.iter().chain(added) {
        match tokens.get_mut(id as usize) {
            Some(slot @ None) => *slot = Some(text.as_str()),
            Some(Some(other)) if *other == text.as_str() => {}
            Some(Some(_)) => return Err(ids_error(id, IdFault::Twice)),
            None => return Err(ids_error(id, IdFault::TooLarge)),
        }
    }
    let found = |(id, token): (usize, Option<&'a str>)| {
        token.ok_or_else(|| ids_error(id as u32, IdFault::Missing))
    };
    tokens.into_iter().enumerate().map(found).collect()
}

/// Returns the byte-level alphabet of GPT-2: a printable byte is written as itself, another one as
/// the next free character from U+0100 on.
pub(crate) fn byte_level_alphabet() -> BTreeMap<char, u8> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let own = (0..=255u8)
        .filter(printable)
        .map(|byte| (char::from(byte), byte));
    let rest = (0..=255u8).filter(|byte| !printable(byte));
    let moved = (0x100u32..)
        .zip(rest)
        .filter_map(|(code, byte)| Some((char::from_u32(code)?, byte)));
    own.chain(moved).collect()
}

/// Adds the tokens of `added_tokens_decoder` to those of `added_tokens.json`. Current versions of
/// transformers write only the former.
fn merge_decoder(
    decoder: &BTreeMap<u32, DecoderEntry>,
    base: &AHashMap<String, u32>,
    added: &mut BTreeMap<String, u32>,
    folder: &Path,
) -> Result<(), TextError> {
    let texts: AHashMap<u32, String> = added.iter().map(|(text, id)| (*id, text.clone())).collect();
    for (&id, DecoderEntry { content, .. }) in decoder {
        let conflict = |other: &str, other_id| TextError::AddedTokens {
            folder: folder.to_owned(),
            decoder: content.clone(),
            decoder_id: id,
            listed: other.to_owned(),
            listed_id: other_id,
        };
        if let Some(text) = texts.get(&id).filter(|text| *text != content) {
            return Err(conflict(text, id));
        }
        match added.get(content).or_else(|| base.get(content)) {
            Some(listed) if *listed != id => return Err(conflict(content, *listed)),
            Some(_) => {}
            None => {
                added.insert(content.clone(), id);
            }
        }
    }
    Ok(())
}

/// Collects the tokens of an entry of `special_tokens_map.json`: a text, an object with `content`,
/// or several of them.
fn collect(entry: Value, into: &mut HashSet<String>) {
    match entry {
        Value::String(content) => {
            into.insert(content);
        }
        Value::Array(entries) => entries.into_iter().for_each(|entry| collect(entry, into)),
        Value::Object(mut entry) => match entry.remove("content") {
            Some(content) => collect(content, into),
            None => entry
                .into_iter()
                .for_each(|(_, entry)| collect(entry, into)),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns `true` if the path exists. A dangling link counts, so that reading it reports it.
pub(crate) fn exists(file: &Path) -> bool {
    file.symlink_metadata().is_ok()
}

fn json<T: DeserializeOwned>(file: &Path, what: TokenizerFile) -> Result<T, TextError> {
    let read = moss_files::read(file, moss_files::MAX_BYTES);
    let bytes = read.map_err(|source| TextError::Read {
        file: file.to_owned(),
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|source| TextError::Json {
        file: file.to_owned(),
        what,
        source,
    })
}

fn optional<T: DeserializeOwned>(file: &Path, what: TokenizerFile) -> Result<Option<T>, TextError> {
    // A file may contain a JSON null, which counts as a missing file.
    if exists(file) {
        json(file, what)
    } else {
        Ok(None)
    }
}
