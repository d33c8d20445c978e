//! The streamed text of one run.

use super::stop::StopStrings;
use crate::{
    SegmentKind, SpecialTokens, Specials, TextStream, Tokenizer, segments::Segments, traced::Traced,
};

/// The format of a run's text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TextMode {
    /// Plain text.
    #[default]
    Raw,
    /// An answer after its label. Leading white space is part of the label, unless the answer
    /// `continues`.
    Answer {
        /// Is true if the prompt ends within the answer.
        continues: bool,
    },
    /// The segments of a plugin model's reply.
    Plugin {
        /// The first segment: thoughts, whose label the model writes, or an answer after its label.
        first: SegmentKind,
        /// Is true if the prompt ends within that segment.
        continues: bool,
    },
}

/// A piece of text that a token completes, or that is released at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The segment of the reply.
    pub kind: SegmentKind,
    /// Complete characters, without labels; may be empty.
    pub text: String,
    /// The tokens of the text, if they are requested.
    pub tokens: Vec<TokenText>,
}

/// A token and its share of a text. Both `text` and `bytes` of consecutive tokens concatenate to
/// the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenText {
    /// Index of the token in its run.
    pub index: usize,
    /// The characters that it completes; may be empty.
    pub text: String,
    /// Its bytes; those of U+FFFD if a malformed part ends in it.
    pub bytes: Vec<u8>,
}

/// The ids of one run to text: detokenizes them, searches for stop strings, splits the text into
/// segments, and assigns it to tokens.
///
/// Incomplete characters are held back, and so is text that may be the start of a stop string or a
/// label. Text with tokens is released once the text of all its tokens is complete.
#[derive(Debug, Clone)]
pub struct ReplyText {
    stream: TextStream,
    stops: StopStrings,
    /// All text up to a stop string, including labels.
    raw: String,
    /// The state of the segments; `None` for plain text.
    segments: Option<Segments>,
    /// The tokens that end a segment; `None` if there is only one segment.
    ends: Option<SpecialTokens>,
    /// Is true if text is assigned to tokens.
    align: bool,
    /// Number of tokens so far.
    count: u32,
    /// Text with tokens that is not released.
    ready: Traced,
    /// Is true after a stop string.
    is_stopped: bool,
}

impl ReplyText {
    /// Creates the state of a run. `align` requests [`Piece::tokens`].
    pub fn new(tokenizer: Tokenizer, mode: TextMode, stop: &[String], align: bool) -> Self {
        let special = tokenizer.special().ok();
        let (segments, ends) = match mode {
            TextMode::Raw => (None, None),
            TextMode::Answer { continues } => {
                let answer = Segments::new(SegmentKind::Answer, false, continues);
                (Some(answer), None)
            }
            TextMode::Plugin { first, continues } => {
                let labelled = first != SegmentKind::Answer;
                (Some(Segments::new(first, labelled, continues)), special)
            }
        };
        Self {
            stream: TextStream::new(tokenizer, Specials::Skip),
            stops: StopStrings::new(stop),
            raw: String::new(),
            segments,
            ends,
            align,
            count: 0,
            ready: Traced::default(),
            is_stopped: false,
        }
    }

    /// Returns the text that `id` completes, and the stop string that ends it, if there is one.
    pub fn push(&mut self, id: u32) -> (Piece, Option<String>) {
        let number = self.align.then_some(self.count);
        self.count += 1;
        let text = self.stream.push_traced(id, number);
        let ended = self.ends.and_then(|ends| SegmentKind::after(id, &ends));
        if let Some(next) = ended {
            let (piece, found) = self.flush();
            if let Some(segments) = &mut self.segments {
                segments.begin(next);
            }
            return (piece, found);
        }
        let (text, found) = self.stops.push(text);
        self.is_stopped |= found.is_some();
        self.release(text);
        (self.complete(), found)
    }

    /// Returns text that was held back; `None` after a stop string.
    pub fn finish(&mut self) -> Option<Piece> {
        if self.is_stopped {
            return None;
        }
        let (piece, _) = self.flush();
        Some(piece).filter(|piece| !piece.text.is_empty())
    }

    /// Returns all text up to a stop string, including labels.
    pub fn into_raw(self) -> String {
        self.raw
    }

    /// Returns all text that is held back.
    fn flush(&mut self) -> (Piece, Option<String>) {
        let rest = self.stream.finish_traced();
        let (mut rest, found) = self.stops.push(rest);
        self.is_stopped |= found.is_some();
        rest.append(self.stops.finish());
        self.release(rest);
        if let Some(segments) = &mut self.segments {
            self.ready.append(segments.finish());
        }
        (self.take(self.ready.text().len()), found)
    }

    /// Adds text without stop strings to its segment.
    fn release(&mut self, text: Traced) {
        self.raw.push_str(text.text());
        self.ready.append(match &mut self.segments {
            Some(segments) => segments.push(text),
            None => text,
        });
    }

    /// Returns the text whose tokens are complete.
    fn complete(&mut self) -> Piece {
        if !self.align || self.is_stopped {
            return self.take(self.ready.text().len());
        }
        let segments = self.segments.as_ref();
        let held = [
            self.stream.first_owner(),
            self.stops.first_owner(),
            segments.and_then(Segments::first_owner),
        ];
        let open = held.into_iter().flatten().min().unwrap_or(self.count);
        let owners = self.ready.owners();
        let mut end = owners.partition_point(|owner| *owner < open);
        while !self.ready.text().is_char_boundary(end) {
            // The character ends in a token that is not complete.
            let last = owners[end - 1];
            end = owners.partition_point(|owner| *owner < last);
        }
        self.take(end)
    }

    /// Takes the first `end` bytes of the text that is ready, and their tokens.
    fn take(&mut self, end: usize) -> Piece {
        let rest = self.ready.split_off(end);
        let ready = std::mem::replace(&mut self.ready, rest);
        let kind = self.segments.as_ref().map(Segments::kind);
        Piece {
            kind: kind.unwrap_or(SegmentKind::Answer),
            tokens: tokens(&ready),
            text: ready.into_text(),
        }
    }
}

/// Returns the tokens of a text that ends at the end of a token.
fn tokens(traced: &Traced) -> Vec<TokenText> {
    let text = traced.text();
    let whole = |at: usize| (0..=at).rev().find(|at| text.is_char_boundary(*at));
    let mut end = 0;
    let runs = traced.owners().chunk_by(|one, other| one == other);
    let token = |run: &[u32]| {
        let start = end;
        end += run.len();
        let characters = whole(start).unwrap_or(start)..whole(end).unwrap_or(end);
        TokenText {
            index: run[0] as usize,
            text: text[characters].to_owned(),
            bytes: text.as_bytes()[start..end].to_vec(),
        }
    };
    runs.map(token).collect()
}
