//! `merges.txt`, and the check that it belongs to `vocab.json`.
//!
//! The merges produce a byte-level BPE vocabulary, so these rules detect a file that is truncated,
//! reordered or from another model:
//!
//! - each part of a merge is a single byte or the result of an earlier line;
//! - each multi-byte token is the result of a line, unless it is an added or special token;
//! - no pair occurs twice: the later line would change the pair's rank;
//! - if token ids are in the order of the merges, as in GPT-2's files, every line keeps that order.
//!   This is the case if the ids start with the 256 single bytes, in any order. RoBERTa's ids are
//!   ordered by frequency.
//!
//! Without these checks, such files load and encode text differently from the training data.

use std::path::Path;

use ahash::{AHashMap, AHashSet};

use crate::TextError;

/// Two tokens that are merged.
pub(crate) struct MergeLine {
    pub(crate) first: String,
    pub(crate) second: String,
    /// From 1.
    line: usize,
}

/// If the single bytes do not have consecutive ids, and more than one line of this many is out of
/// order, the ids are not in the order of the merges.
const OUT_OF_ORDER: usize = 10;

pub(crate) fn read(file: &Path) -> Result<Vec<MergeLine>, TextError> {
    let text =
        moss_files::read_text(file, moss_files::MAX_BYTES).map_err(|source| TextError::Read {
            file: file.to_owned(),
            source,
        })?;
    let mut lines = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let line = index + 1;
        // The byte-level alphabet has another character for this byte, so it is a line end.
        if text.contains('\r') {
            return Err(TextError::LineEnd {
                file: file.to_owned(),
                line,
            });
        }
        if text.is_empty() || index == 0 && text.starts_with("#version") {
            continue;
        }
        match text.split_once(' ') {
            Some((a, b)) if !a.is_empty() && !b.is_empty() && !b.contains(' ') => {
                lines.push(MergeLine {
                    first: a.to_owned(),
                    second: b.to_owned(),
                    line,
                });
            }
            _ => {
                let found = text.chars().take(40).collect();
                return Err(TextError::Merge {
                    file: file.to_owned(),
                    line,
                    found,
                });
            }
        }
    }
    Ok(lines)
}

/// Checks the rules above. `tokens` has the text of every id, `needs_merge` is false for added and
/// special tokens. The result is true for ids that are single bytes or results of merges.
pub(crate) fn check(
    base: &AHashMap<String, u32>,
    tokens: &[&str],
    lines: &[MergeLine],
    file: &Path,
    needs_merge: impl Fn(&str) -> bool,
) -> Result<Vec<bool>, TextError> {
    let is_byte = |text: &str| text.chars().nth(1).is_none();
    let mut made: Vec<bool> = tokens.iter().map(|text| is_byte(text)).collect();
    let mut pairs = AHashSet::with_capacity(lines.len());
    let (mut last, mut descents, mut first_descent) = (None, 0, None);
    let mut joined = String::new();
    for MergeLine {
        first,
        second,
        line,
    } in lines
    {
        let line = *line;
        joined.clear();
        joined.push_str(first);
        joined.push_str(second);
        let id = |token: &str| {
            base.get(token)
                .copied()
                .ok_or_else(|| TextError::MergeToken {
                    file: file.to_owned(),
                    line,
                    token: token.to_owned(),
                })
        };
        let (a, b, result) = (id(first)?, id(second)?, id(&joined)?);
        for (id, part) in [(a, first), (b, second)] {
            if !made[id as usize] {
                let (file, part) = (file.to_owned(), part.clone());
                return Err(TextError::MergePart {
                    file,
                    line,
                    found: format!("{first} {second}"),
                    part,
                });
            }
        }
        if !pairs.insert((a, b)) {
            let found = format!("{first} {second}");
            return Err(TextError::MergeTwice {
                file: file.to_owned(),
                line,
                found,
            });
        }
        // Several pairs can produce a token; the first one determines its id.
        if !std::mem::replace(&mut made[result as usize], true) {
            if let Some(before) = last.filter(|before| *before > result) {
                descents += 1;
                first_descent.get_or_insert((line, result, before));
            }
            last = Some(result);
        }
    }
    let unmade = |id: &usize| !made[*id] && needs_merge(tokens[*id]);
    let mut missing = (0..tokens.len()).filter(unmade);
    if let Some(id) = missing.next() {
        let (count, found) = (1 + missing.count(), tokens[id].to_owned());
        return Err(TextError::NoMerge {
            file: file.to_owned(),
            id: id as u32,
            found,
            count,
        });
    }
    // A trainer numbers the bytes first, then the merges. For such a vocabulary, the number of
    // lines out of order does not matter: in a shuffled file, most are.
    let bytes = base.iter().filter(|(text, _)| is_byte(text));
    let (first_byte, last_byte, bytes) = bytes.fold((u32::MAX, 0, 0), |(low, high, n), (_, id)| {
        (low.min(*id), high.max(*id), n + 1)
    });
    let is_ordered = bytes == 256 && last_byte - first_byte == 255;
    match first_descent.filter(|_| is_ordered || descents <= lines.len() / OUT_OF_ORDER) {
        Some((line, id, before)) => Err(TextError::MergeOrder {
            file: file.to_owned(),
            line,
            id,
            before,
        }),
        None => Ok(made),
    }
}
