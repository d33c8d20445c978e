//! Which token each byte of a decoded text comes from.

use std::collections::VecDeque;

use crate::{Tokenizer, tokenizer::Piece};

/// A token and its share of a text. Over consecutive tokens both `text` and `bytes` concatenate to
/// that text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlignedToken<T> {
    /// What was given with the token.
    pub value: T,
    /// The characters that it completes; empty where it holds only the beginning of one.
    pub text: String,
    /// Its bytes; those of U+FFFD where a malformed part ends in it.
    pub bytes: Vec<u8>,
}

/// Assigns text to the tokens that it comes from.
///
/// Text does not come token by token: a character may span several of them, what may begin a stop
/// string is held back, and an answer may end in the middle of a token. So tokens go in with
/// [`TokenAlignment::push`], the text goes in as it is released or skipped, and a token comes out
/// once all of its text is accounted for. Special tokens have no text and never come out.
#[derive(Debug, Clone)]
pub struct TokenAlignment<T> {
    tokenizer: Tokenizer,
    /// Tokens pushed so far.
    count: usize,
    /// Bytes that are not decoded yet, and the number of the token that each belongs to.
    pending: Vec<u8>,
    owners: Vec<usize>,
    /// Decoded characters that are neither released nor skipped, with the token of each of their
    /// bytes.
    characters: VecDeque<(char, Vec<usize>)>,
    tokens: VecDeque<Share<T>>,
    /// Text whose tokens have not come out yet.
    released: String,
}

#[derive(Debug, Clone)]
struct Share<T> {
    number: usize,
    token: AlignedToken<T>,
    /// Bytes in `pending` and `characters`.
    open: usize,
}

impl<T> TokenAlignment<T> {
    /// No tokens and no text.
    pub fn new(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            count: 0,
            pending: Vec::new(),
            owners: Vec::new(),
            characters: VecDeque::new(),
            tokens: VecDeque::new(),
            released: String::new(),
        }
    }

    /// Adds the next token of the answer.
    pub fn push(&mut self, id: u32, value: T) {
        let tokenizer = self.tokenizer.clone();
        let (bytes, is_whole) = match tokenizer.piece(id) {
            Piece::Nothing | Piece::Whole { special: true, .. } => return,
            Piece::Bytes(bytes) => (bytes, false),
            Piece::Whole { bytes, .. } => (bytes, true),
        };
        if is_whole {
            self.decode(true);
        }
        let (number, open) = (self.count, bytes.len());
        self.count += 1;
        self.tokens.push_back(Share {
            number,
            token: AlignedToken {
                value,
                text: String::new(),
                bytes: Vec::new(),
            },
            open,
        });
        self.pending.extend_from_slice(bytes);
        self.owners.resize(self.pending.len(), number);
        self.decode(is_whole);
    }

    /// Says that the next bytes of the tokens' text are no part of the text that is kept.
    pub fn skip(&mut self, bytes: usize) {
        let mut left = bytes;
        while left > 0
            && let Some((_, owners)) = self.next_character()
        {
            left = left.saturating_sub(owners.len());
            owners.into_iter().for_each(|owner| self.close(owner));
        }
    }

    /// Says that the text that is kept goes on with `text`.
    pub fn release(&mut self, text: &str) {
        self.released.push_str(text);
        for expected in text.chars() {
            let Some((character, owners)) = self.next_character() else {
                return;
            };
            debug_assert_eq!(character, expected);
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).bytes();
            let last = owners.last().copied();
            for (byte, owner) in bytes.zip(owners) {
                self.close(owner);
                if let Some(share) = self.share(owner) {
                    share.token.bytes.push(byte);
                }
            }
            if let Some(share) = last.and_then(|owner| self.share(owner)) {
                share.token.text.push(character);
            }
        }
    }

    /// The text of complete tokens, and these tokens: as many as end together with a character.
    pub fn complete(&mut self) -> (String, Vec<AlignedToken<T>>) {
        let (mut bytes, mut ready, mut length) = (Vec::new(), 0, 0);
        for (index, share) in self
            .tokens
            .iter()
            .enumerate()
            .take_while(|(_, share)| share.open == 0)
        {
            bytes.extend_from_slice(&share.token.bytes);
            if std::str::from_utf8(&bytes).is_ok() {
                (ready, length) = (index + 1, bytes.len());
            }
        }
        let rest = self.released.split_off(length.min(self.released.len()));
        let text = std::mem::replace(&mut self.released, rest);
        (text, self.take(ready))
    }

    /// The rest: of a token that was released in part, that part.
    pub fn finish(&mut self) -> (String, Vec<AlignedToken<T>>) {
        self.pending.clear();
        self.owners.clear();
        self.characters.clear();
        (
            std::mem::take(&mut self.released),
            self.take(self.tokens.len()),
        )
    }

    fn take(&mut self, count: usize) -> Vec<AlignedToken<T>> {
        let tokens = self.tokens.drain(..count).map(|share| share.token);
        tokens.filter(|token| !token.bytes.is_empty()).collect()
    }

    fn share(&mut self, number: usize) -> Option<&mut Share<T>> {
        let first = self.tokens.front()?.number;
        self.tokens.get_mut(number.checked_sub(first)?)
    }

    fn close(&mut self, number: usize) {
        if let Some(share) = self.share(number) {
            share.open = share.open.saturating_sub(1);
        }
    }

    fn next_character(&mut self) -> Option<(char, Vec<usize>)> {
        if self.characters.is_empty() {
            self.decode(true); // the end of the answer shows what never became whole
        }
        self.characters.pop_front()
    }

    /// Decodes as [`crate::TextStream`] does: all but an unfinished character at the end, and with
    /// `all` that too.
    fn decode(&mut self, all: bool) {
        let (mut decoded, mut done) = (Vec::new(), 0);
        for chunk in self.pending.utf8_chunks() {
            decoded.extend(
                chunk
                    .valid()
                    .chars()
                    .map(|character| (character, character.len_utf8())),
            );
            done += chunk.valid().len();
            let malformed = chunk.invalid();
            let is_last = done + malformed.len() == self.pending.len();
            let is_unfinished =
                || std::str::from_utf8(malformed).is_err_and(|error| error.error_len().is_none());
            if malformed.is_empty() || (is_last && !all && is_unfinished()) {
                continue;
            }
            decoded.push((char::REPLACEMENT_CHARACTER, malformed.len()));
            done += malformed.len();
        }
        self.pending.drain(..done);
        let mut owners: VecDeque<usize> = self.owners.drain(..done).collect();
        for (character, length) in decoded {
            let mut own: Vec<usize> = owners.drain(..length).collect();
            let is_replaced =
                own.len() != character.len_utf8() || character == char::REPLACEMENT_CHARACTER;
            if let Some(last) = own.last().copied().filter(|_| is_replaced) {
                own.into_iter().for_each(|owner| self.close(owner));
                own = vec![last; character.len_utf8()];
                if let Some(share) = self.share(last) {
                    share.open += own.len();
                }
            }
            self.characters.push_back((character, own));
        }
    }
}
