//! GPT-2's byte-level BPE over the published files, through the `tokenizers` crate.
//!
//! Added tokens are matched first, leftmost and longest, without stripping white space around them.
//! The text between them is split by GPT-2's pattern and merged. No token is prepended.

#[cfg(feature = "testing")]
use std::sync::atomic::Ordering::Relaxed;
use std::{path::Path, sync::Arc};

use aho_corasick::{AhoCorasick, MatchKind};
use tokenizers::{
    Model, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, models::bpe::BPE,
    pre_tokenizers::byte_level::ByteLevel,
};

use crate::{
    SpecialTokens, TextError,
    vocab::{self, Vocab, byte_level_alphabet},
};

/// The treatment of special tokens in decoded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Specials {
    /// Decode them to their names, such as `<eom>`.
    Show,
    /// Leave them out.
    Skip,
}

/// The kind of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Bytes, which may be a part of a character.
    Bytes,
    /// A text that is matched before BPE.
    Added,
    /// A special token, which is not part of a text.
    Special,
}

struct Inner {
    bpe: BPE,
    split: ByteLevel,
    /// All added and special tokens, and their ids by pattern.
    all: Matcher,
    /// Those that are plain text.
    plain: Matcher,
    /// The bytes of all ids, concatenated, and the end of each.
    bytes: Vec<u8>,
    ends: Vec<u32>,
    kinds: Vec<Kind>,
    /// The special tokens, or the name of a missing one.
    special: Result<SpecialTokens, &'static str>,
    folder: std::path::PathBuf,
    #[cfg(feature = "testing")]
    work: crate::work::Counters,
}

struct Matcher {
    automaton: AhoCorasick,
    ids: Vec<u32>,
}

impl Matcher {
    fn new(tokens: &[(&String, u32)]) -> Result<Self, String> {
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(tokens.iter().map(|(text, _)| text.as_bytes()))
            .map_err(|error| error.to_string())?;
        Ok(Self {
            automaton,
            ids: tokens.iter().map(|(_, id)| *id).collect(),
        })
    }
}

/// A tokenizer: text to token ids and back. Clones share one vocabulary.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({} tokens)", self.vocab_size())
    }
}

impl Tokenizer {
    /// Returns `true` if a folder has `vocab.json` or `merges.txt`. [`Tokenizer::from_folder`]
    /// reports missing and invalid files.
    pub fn is_present(folder: &Path) -> bool {
        ["vocab.json", "merges.txt"]
            .iter()
            .any(|name| vocab::exists(&folder.join(name)))
    }

    /// Reads `vocab.json`, `merges.txt`, and, if they exist, `added_tokens.json`,
    /// `special_tokens_map.json` and `tokenizer_config.json`.
    ///
    /// Added tokens are those of `added_tokens.json` and of `added_tokens_decoder` in
    /// `tokenizer_config.json`. The tokens of [`SpecialTokens`] are always special; others are if
    /// the files declare them so.
    ///
    /// # Errors
    /// A [`TextError`] naming the file and the line or id, also for merges that do not belong to
    /// the vocabulary.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, TextError> {
        let vocab = Vocab::read(folder.as_ref())?;
        let table = Table::new(&vocab)?;
        let bpe_error = |reason: String| TextError::Bpe {
            folder: vocab.folder.clone(),
            reason,
        };
        let mut tokens: Vec<(&String, u32)> =
            vocab.added.iter().map(|(text, id)| (text, *id)).collect();
        let specials = vocab
            .special
            .iter()
            .filter(|text| !vocab.added.contains_key(*text));
        tokens.extend(specials.filter_map(|text| Some((text, *vocab.base.get(text)?))));
        tokens.retain(|(text, _)| !text.is_empty());
        tokens.sort();
        let plain: Vec<_> = tokens
            .iter()
            .copied()
            .filter(|(text, _)| !vocab.special.contains(text.as_str()))
            .collect();
        let (all, plain) = (
            Matcher::new(&tokens).map_err(bpe_error)?,
            Matcher::new(&plain).map_err(bpe_error)?,
        );
        let special = special_tokens(&vocab);
        let bpe = BPE::builder()
            .vocab_and_merges(vocab.base, vocab.merges)
            .build()
            .map_err(|error| TextError::Bpe {
                folder: vocab.folder.clone(),
                reason: error.to_string(),
            })?;
        Ok(Self {
            inner: Arc::new(Inner {
                bpe,
                split: ByteLevel::new(false, false, true),
                all,
                plain,
                special,
                bytes: table.bytes,
                ends: table.ends,
                kinds: table.kinds,
                folder: vocab.folder,
                #[cfg(feature = "testing")]
                work: Default::default(),
            }),
        })
    }

    /// Returns the number of tokens. The embedding has more rows; their ids have no text and must
    /// not be sampled.
    pub fn vocab_size(&self) -> usize {
        self.inner.kinds.len()
    }

    /// Checks that every id is that of a token.
    ///
    /// # Errors
    /// [`TextError::UnknownId`] for the first one that is not.
    pub fn check_ids(&self, ids: &[u32]) -> Result<(), TextError> {
        let tokens = self.vocab_size();
        match ids.iter().position(|id| *id as usize >= tokens) {
            Some(position) => Err(TextError::UnknownId {
                position,
                id: ids[position],
                tokens,
            }),
            None => Ok(()),
        }
    }

    /// Returns the ids of the special tokens of a conversation.
    ///
    /// # Errors
    /// [`TextError::MissingSpecial`] for a tokenizer without `<eoh>` or `<eom>`.
    pub fn special(&self) -> Result<SpecialTokens, TextError> {
        self.inner
            .special
            .map_err(|name| self.missing_special(name))
    }

    /// Returns the error for a missing special token.
    pub(crate) fn missing_special(&self, name: &'static str) -> TextError {
        TextError::MissingSpecial {
            folder: self.inner.folder.clone(),
            name,
        }
    }

    /// Returns the token ids of a trusted text: special tokens in it are encoded as such.
    ///
    /// # Errors
    /// [`TextError::Encode`] if the tokenizers crate fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        self.encode_with(text, &self.inner.all)
    }

    /// Returns the token ids of an untrusted text: special tokens in it are encoded like other
    /// text, so a user who types `<eom>` does not end a turn.
    ///
    /// # Errors
    /// [`TextError::Encode`] if the tokenizers crate fails.
    pub fn encode_untrusted(&self, text: &str) -> Result<Vec<u32>, TextError> {
        self.encode_with(text, &self.inner.plain)
    }

    fn encode_with(&self, text: &str, matcher: &Matcher) -> Result<Vec<u32>, TextError> {
        #[cfg(feature = "testing")]
        self.inner.work.encoded_bytes.fetch_add(text.len(), Relaxed);
        let mut ids = Vec::with_capacity(text.len() / 3);
        let mut done = 0;
        for found in matcher.automaton.find_iter(text) {
            self.encode_run(&text[done..found.start()], &mut ids)?;
            ids.push(matcher.ids[found.pattern().as_usize()]);
            done = found.end();
        }
        self.encode_run(&text[done..], &mut ids)?;
        Ok(ids)
    }

    fn encode_run(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TextError> {
        if text.is_empty() {
            return Ok(());
        }
        let run = || -> tokenizers::Result<Vec<u32>> {
            let mut pieces = PreTokenizedString::from(text);
            self.inner.split.pre_tokenize(&mut pieces)?;
            let mut ids = Vec::new();
            for (piece, ..) in pieces.get_splits(OffsetReferential::Original, OffsetType::Byte) {
                ids.extend(
                    self.inner
                        .bpe
                        .tokenize(piece)?
                        .into_iter()
                        .map(|token| token.id),
                );
            }
            Ok(ids)
        };
        ids.extend(run().map_err(|error| TextError::Encode {
            bytes: text.len(),
            reason: error.to_string(),
        })?);
        Ok(())
    }

    /// Returns the work of this tokenizer and its clones so far.
    #[cfg(feature = "testing")]
    pub fn work(&self) -> crate::Work {
        self.inner.work.work()
    }

    /// Counts a decoded id, for tests.
    pub(crate) fn count_decoded(&self) {
        #[cfg(feature = "testing")]
        self.inner.work.decoded_ids.fetch_add(1, Relaxed);
    }

    /// Returns the bytes of `id`, which may be a part of a character; for a special token those of
    /// its name, and none for an id beyond the vocabulary.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        match self.piece(id) {
            Piece::Bytes(bytes) | Piece::Whole { bytes, .. } => bytes,
            Piece::Nothing => &[],
        }
    }

    /// Returns the bytes that `id` adds to the text before it, or its separate text.
    pub(crate) fn piece(&self, id: u32) -> Piece<'_> {
        let inner = &self.inner;
        let Some(kind) = inner.kinds.get(id as usize) else {
            return Piece::Nothing;
        };
        let start = match id {
            0 => 0,
            id => inner.ends[id as usize - 1] as usize,
        };
        let bytes = &inner.bytes[start..inner.ends[id as usize] as usize];
        match kind {
            Kind::Bytes => Piece::Bytes(bytes),
            Kind::Added => Piece::Whole {
                bytes,
                special: false,
            },
            Kind::Special => Piece::Whole {
                bytes,
                special: true,
            },
        }
    }
}

/// The text of an id.
pub(crate) enum Piece<'a> {
    Bytes(&'a [u8]),
    Whole { bytes: &'a [u8], special: bool },
    Nothing,
}

/// The bytes of all ids.
struct Table {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    kinds: Vec<Kind>,
}

impl Table {
    fn new(vocab: &Vocab) -> Result<Self, TextError> {
        let byte_of = byte_level_alphabet();
        let mut table = Self {
            bytes: vec![],
            ends: vec![],
            kinds: vec![],
        };
        for (id, text) in vocab::by_id(&vocab.base, &vocab.added, &vocab.folder)?
            .into_iter()
            .enumerate()
        {
            let kind = match () {
                _ if vocab.special.contains(text) => Kind::Special,
                _ if vocab.base.contains_key(text) => Kind::Bytes,
                _ => Kind::Added,
            };
            match kind {
                Kind::Bytes => {
                    for char in text.chars() {
                        table
                            .bytes
                            .push(*byte_of.get(&char).ok_or_else(|| TextError::Token {
                                folder: vocab.folder.clone(),
                                id: id as u32,
                                found: text.to_owned(),
                            })?);
                    }
                }
                Kind::Added | Kind::Special => table.bytes.extend_from_slice(text.as_bytes()),
            }
            table.ends.push(table.bytes.len() as u32);
            table.kinds.push(kind);
        }
        Ok(table)
    }
}

/// Returns the special tokens, or the name of a missing one.
fn special_tokens(vocab: &Vocab) -> Result<SpecialTokens, &'static str> {
    let id = |name: &str| {
        vocab
            .added
            .get(name)
            .or_else(|| vocab.base.get(name))
            .copied()
    };
    Ok(SpecialTokens {
        end_of_text: id("<|endoftext|>"),
        eoh: id("<eoh>").ok_or("<eoh>")?,
        eom: id("<eom>").ok_or("<eom>")?,
        eot: id("<eot>"),
        eoc: id("<eoc>"),
        eor: id("<eor>"),
    })
}
