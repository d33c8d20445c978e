//! Token ids to text as they come, whole characters at a time.

use crate::{Specials, Tokenizer, tokenizer::Piece};

/// Holds back the beginning of a character until its end has come. The pieces put together are
/// exactly what [`Tokenizer::decode`] gives for all ids at once.
#[derive(Debug, Clone)]
pub struct TextStream {
    tokenizer: Tokenizer,
    specials: Specials,
    pending: Vec<u8>,
}

impl TextStream {
    /// A stream at its beginning.
    pub fn new(tokenizer: Tokenizer, specials: Specials) -> Self {
        Self {
            tokenizer,
            specials,
            pending: Vec::new(),
        }
    }

    /// The text that `id` completes: empty while a character is unfinished.
    pub fn push(&mut self, id: u32) -> String {
        match self.tokenizer.piece(id) {
            Piece::Nothing => String::new(),
            Piece::Bytes(bytes) => {
                self.pending.extend_from_slice(bytes);
                self.drain()
            }
            Piece::Whole { special: true, .. } if self.specials == Specials::Skip => String::new(),
            Piece::Whole { bytes, .. } => {
                let whole = String::from_utf8_lossy(bytes).into_owned();
                let mut text = self.finish();
                text.push_str(&whole);
                text
            }
        }
    }

    /// What is left at the end: U+FFFD for a character that never became whole.
    pub fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.pending);
        String::from_utf8_lossy(&rest).into_owned()
    }

    fn drain(&mut self) -> String {
        // Everything but an unfinished character at the very end. Malformed parts before it show as
        // U+FFFD now: what follows cannot mend them.
        let mut cut = 0;
        loop {
            match std::str::from_utf8(&self.pending[cut..]) {
                Ok(_) => cut = self.pending.len(),
                Err(error) => match error.error_len() {
                    Some(bad) => {
                        cut += error.valid_up_to() + bad;
                        continue;
                    }
                    None => cut += error.valid_up_to(),
                },
            }
            break;
        }
        let whole: Vec<u8> = self.pending.drain(..cut).collect();
        String::from_utf8_lossy(&whole).into_owned()
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
