//! Texts as token ids, for calibration and evaluation.

use std::path::Path;

use moss_text::{Conversation, PromptBuilder, SavedTurn, SystemText, TextError, Turn};
use moss_unicode::decode_text;
use serde::Deserialize;

use crate::{FolderAction, QuantizeError, folder::io};

/// Maximum size of a file of samples, which is read into memory.
const MAX_BYTES: u64 = 1 << 30;

/// The embedded short dialogues in English and Chinese, written for the demo model.
const BUILT_IN: &str = include_str!("../../../examples/demo/corpus/dialogues.jsonl");

/// A text or a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Token ids.
    pub ids: Vec<u32>,
    /// True for tokens that an evaluation counts: all of a text, and the replies of a dialogue.
    pub scored: Vec<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Dialogue { turns: Vec<SavedTurn> },
    Text { text: String },
}

/// Reads a file of samples. A file `*.jsonl` contains a dialogue `{"turns": [{"user", "moss"}]}` or
/// a text `{"text"}` per line; any other file is one text.
///
/// A byte order mark is skipped, and CRLF is read as LF.
///
/// # Errors
/// [`QuantizeError::Io`]; [`QuantizeError::Decode`] for text that is not UTF-8;
/// [`QuantizeError::Sample`] for a line of another form; [`QuantizeError::Text`].
pub fn read_samples(file: &Path, builder: &PromptBuilder) -> Result<Vec<Sample>, QuantizeError> {
    let bytes = moss_files::read_bytes(file, MAX_BYTES)
        .map_err(|source| io(FolderAction::Read, file, source))?;
    let text = decode_text(&bytes).map_err(|source| QuantizeError::Decode {
        file: file.to_owned(),
        source,
    })?;
    if file
        .extension()
        .is_some_and(|extension| extension == "jsonl")
    {
        return from_lines(&text, file, builder);
    }
    Ok(vec![Sample::text(&text, builder)?])
}

/// Returns the embedded dialogues, which cover the topics of the demo model. A full-size model should
/// be calibrated with text that is typical of its use.
///
/// # Errors
/// [`QuantizeError::Text`] for a tokenizer without the special tokens of a dialogue.
pub fn built_in_samples(builder: &PromptBuilder) -> Result<Vec<Sample>, QuantizeError> {
    from_lines(BUILT_IN, Path::new("dialogues.jsonl"), builder)
}

fn from_lines(
    text: &str,
    file: &Path,
    builder: &PromptBuilder,
) -> Result<Vec<Sample>, QuantizeError> {
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let sample = |(number, line)| match serde_json::from_str(line) {
        Ok(Line::Dialogue { turns }) => Ok(Sample::dialogue(turns, builder)?),
        Ok(Line::Text { text }) => Ok(Sample::text(&text, builder)?),
        Err(source) => Err(QuantizeError::Sample {
            file: file.to_owned(),
            line: number + 1,
            source,
        }),
    };
    lines.map(sample).collect()
}

impl Sample {
    /// Tokenizes a text. Every token is scored.
    ///
    /// # Errors
    /// [`TextError::Encode`].
    pub fn text(text: &str, builder: &PromptBuilder) -> Result<Self, TextError> {
        let ids = builder.tokenizer().encode_untrusted(text)?;
        Ok(Self {
            scored: vec![true; ids.len()],
            ids,
        })
    }

    /// Splits the sample into windows of at most `length` tokens.
    pub fn windows(&self, length: usize) -> impl Iterator<Item = Self> {
        let pieces = self.ids.chunks(length).zip(self.scored.chunks(length));
        pieces.map(|(ids, scored)| Self {
            ids: ids.to_vec(),
            scored: scored.to_vec(),
        })
    }

    /// Tokenizes a dialogue in the model's training format, after the builder's system prompt. The
    /// replies are scored.
    ///
    /// # Errors
    /// [`TextError::Encode`]; [`TextError::MissingSpecial`] for a tokenizer without the tokens of a
    /// dialogue.
    pub fn dialogue(turns: Vec<SavedTurn>, builder: &PromptBuilder) -> Result<Self, TextError> {
        let saved = Conversation {
            turns,
            ..Conversation::new(&SystemText::Published, &[], builder.tokenizer())
        };
        let tokenized: Vec<Turn> = saved.turns(builder.tokenizer())?;
        let mut sample = Self {
            ids: vec![],
            scored: vec![],
        };
        for (index, turn) in tokenized.iter().enumerate() {
            sample.ids = builder.prompt(&tokenized[..index], &turn.user)?;
            sample.scored.resize(sample.ids.len(), false);
            sample.ids.extend_from_slice(&turn.reply);
            sample.scored.resize(sample.ids.len(), true);
        }
        Ok(sample)
    }
}
