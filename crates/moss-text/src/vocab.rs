//! The published tokenizer files: `vocab.json`, `merges.txt`, `added_tokens.json`, `special_tokens_map.json`.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::TextError;

/// What the files say.
pub(crate) struct Vocab {
    pub(crate) folder: PathBuf,
    /// Byte-level tokens.
    pub(crate) base: HashMap<String, u32>,
    pub(crate) merges: Vec<(String, String)>,
    /// Tokens that are matched as they are, before BPE.
    pub(crate) added: HashMap<String, u32>,
    /// Those of them, and of `base`, that are never part of a text.
    pub(crate) special: Vec<String>,
}

/// A special token, as the two generations of `special_tokens_map.json` write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum SpecialEntry {
    Plain(String),
    Detailed { content: String },
    Several(Vec<SpecialEntry>),
    Absent(()),
}

impl SpecialEntry {
    fn collect(self, into: &mut Vec<String>) {
        match self {
            Self::Plain(content) | Self::Detailed { content } => into.push(content),
            Self::Several(entries) => entries.into_iter().for_each(|entry| entry.collect(into)),
            Self::Absent(()) => {}
        }
    }
}

impl Vocab {
    pub(crate) fn read(folder: &Path) -> Result<Self, TextError> {
        let base = json(&folder.join("vocab.json"), "vocabulary")?;
        let merges = merges(&folder.join("merges.txt"))?;
        let added = optional(&folder.join("added_tokens.json"), "list of added tokens")?.unwrap_or_default();
        let entries: Option<HashMap<String, SpecialEntry>> =
            optional(&folder.join("special_tokens_map.json"), "map of special tokens")?;
        let mut special = Vec::new();
        for entry in entries.into_iter().flat_map(HashMap::into_values) {
            entry.collect(&mut special);
        }
        special.sort();
        special.dedup();
        Ok(Self { folder: folder.to_owned(), base, merges, added, special })
    }
}

fn json<T: for<'de> Deserialize<'de>>(file: &Path, what: &'static str) -> Result<T, TextError> {
    let bytes = fs::read(file).map_err(|source| TextError::Read { file: file.to_owned(), source })?;
    serde_json::from_slice(&bytes).map_err(|source| TextError::Json { file: file.to_owned(), what, source })
}

fn optional<T: for<'de> Deserialize<'de>>(file: &Path, what: &'static str) -> Result<Option<T>, TextError> {
    if file.exists() { json(file, what).map(Some) } else { Ok(None) }
}

fn merges(file: &Path) -> Result<Vec<(String, String)>, TextError> {
    let text =
        fs::read_to_string(file).map_err(|source| TextError::Read { file: file.to_owned(), source })?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(line, text)| !(text.is_empty() || *line == 0 && text.starts_with("#version")));
    lines
        .map(|(line, text)| match text.split_once(' ') {
            Some((a, b)) if !a.is_empty() && !b.is_empty() && !b.contains(' ') => {
                Ok((a.to_owned(), b.to_owned()))
            }
            _ => Err(TextError::Merge {
                file: file.to_owned(),
                line: line + 1,
                found: text.chars().take(40).collect(),
            }),
        })
        .collect()
}
