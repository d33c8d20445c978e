//! Token ids to text as they come, whole characters at a time.

use crate::{
    Specials, Tokenizer,
    tokenizer::Piece,
    traced::{Pending, Traced},
};

/// Holds back the beginning of a character until its end has come. The pieces put together are
/// exactly what [`Tokenizer::decode`] gives for all ids at once.
#[derive(Debug, Clone)]
pub struct TextStream {
    tokenizer: Tokenizer,
    specials: Specials,
    pending: Pending,
}

impl TextStream {
    /// A stream at its beginning.
    pub fn new(tokenizer: Tokenizer, specials: Specials) -> Self {
        Self {
            tokenizer,
            specials,
            pending: Pending::default(),
        }
    }

    /// The text that `id` completes: empty while a character is unfinished.
    pub fn push(&mut self, id: u32) -> String {
        self.push_traced(id, None).into_text()
    }

    /// What is left at the end: U+FFFD for a character that never became whole.
    pub fn finish(&mut self) -> String {
        self.finish_traced().into_text()
    }

    /// As [`TextStream::push`], for text that is traced to tokens by their numbers.
    pub(crate) fn push_traced(&mut self, id: u32, number: Option<u32>) -> Traced {
        self.tokenizer.count_decoded();
        match self.tokenizer.piece(id) {
            Piece::Nothing => Traced::default(),
            Piece::Bytes(bytes) => {
                self.pending.push(bytes, number);
                self.pending.decode(false)
            }
            Piece::Whole { special: true, .. } if self.specials == Specials::Skip => {
                Traced::default()
            }
            Piece::Whole { bytes, .. } => {
                let mut text = self.pending.decode(true);
                self.pending.push(bytes, number);
                text.append(self.pending.decode(true));
                text
            }
        }
    }

    /// As [`TextStream::finish`], for text that is traced to tokens.
    pub(crate) fn finish_traced(&mut self) -> Traced {
        self.pending.decode(true)
    }

    /// The number of the token that the first undecoded byte comes from.
    pub(crate) fn first_owner(&self) -> Option<u32> {
        self.pending.first_owner()
    }
}

impl Tokenizer {
    /// Returns the text of `ids`. Each malformed part of the UTF-8 becomes one U+FFFD; ids beyond
    /// the vocabulary have no text.
    pub fn decode(&self, ids: &[u32], specials: Specials) -> String {
        let mut stream = TextStream::new(self.clone(), specials);
        let mut text: String = ids.iter().map(|id| stream.push(*id)).collect();
        text.push_str(&stream.finish());
        text
    }
}
