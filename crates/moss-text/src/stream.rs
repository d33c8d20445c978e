//! Streaming detokenization: token ids to text, in complete characters.

use crate::{
    Specials, Tokenizer,
    tokenizer::Piece,
    traced::{Pending, Traced},
};

/// A streaming detokenizer. It holds back an incomplete character. The concatenated pieces equal
/// [`Tokenizer::decode`] of all ids.
#[derive(Debug, Clone)]
pub struct TextStream {
    tokenizer: Tokenizer,
    specials: Specials,
    pending: Pending,
}

impl TextStream {
    /// Creates a stream.
    pub fn new(tokenizer: Tokenizer, specials: Specials) -> Self {
        Self {
            tokenizer,
            specials,
            pending: Pending::default(),
        }
    }

    /// Returns the text that `id` completes; empty while a character is incomplete.
    pub fn push(&mut self, id: u32) -> String {
        self.push_traced(id, None).into_text()
    }

    /// Returns the remaining text: U+FFFD for an incomplete character.
    pub fn finish(&mut self) -> String {
        self.finish_traced().into_text()
    }

    /// Returns the text that `id` completes, traced to tokens by their numbers.
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

    /// Returns the remaining text, traced to tokens.
    pub(crate) fn finish_traced(&mut self) -> Traced {
        self.pending.decode(true)
    }

    /// Returns the number of the token of the first byte that is not decoded.
    pub(crate) fn first_owner(&self) -> Option<u32> {
        self.pending.first_owner()
    }
}

impl Tokenizer {
    /// Returns the text of `ids`. Each malformed part of the UTF-8 becomes one U+FFFD. Ids beyond
    /// the vocabulary have no text.
    pub fn decode(&self, ids: &[u32], specials: Specials) -> String {
        let mut stream = TextStream::new(self.clone(), specials);
        let mut text: String = ids.iter().map(|id| stream.push(*id)).collect();
        text.push_str(&stream.finish());
        text
    }
}
