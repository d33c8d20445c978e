//! What a plugin model writes, told apart: thoughts, commands, answer.
//!
//! ```text
//! <|Inner Thoughts|>: …<eot>\n<|Commands|>: …<eoc>      then results are put in      \n<|MOSS|>: …<eom>
//! ```

use crate::{SpecialTokens, Specials, TextStream, Tokenizer};

/// What stands in a part that has nothing to say. Commands that are this command nothing, and the
/// model expects the same as results.
pub const EMPTY_PART: &str = "None";

/// Parts of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// What the model thinks before it acts.
    Thoughts,
    /// Calls to plugins.
    Commands,
    /// What it says to the user; for models without plugins all of the reply.
    Answer,
}

impl SegmentKind {
    fn label(self) -> &'static str {
        match self {
            Self::Thoughts => "<|Inner Thoughts|>:",
            Self::Commands => "<|Commands|>:",
            Self::Answer => "<|MOSS|>:",
        }
    }
}

/// A piece of text and the part that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentText {
    /// The part.
    pub kind: SegmentKind,
    /// Whole characters; the part's label is not among them.
    pub piece: String,
}

/// Ids to typed pieces of text, as they come.
#[derive(Debug, Clone)]
pub struct SegmentStream {
    stream: TextStream,
    special: SpecialTokens,
    kind: SegmentKind,
    /// Text that may still turn out to be a label; `None` once the label is past.
    head: Option<String>,
    /// Bytes of the label that the last call took away.
    removed: usize,
}

impl SegmentStream {
    /// A reply that begins with `kind`. `labelled` says that the model writes the label itself.
    pub fn new(
        tokenizer: Tokenizer,
        special: SpecialTokens,
        kind: SegmentKind,
        labelled: bool,
    ) -> Self {
        let head = labelled.then(String::new);
        Self {
            stream: TextStream::new(tokenizer, Specials::Skip),
            special,
            kind,
            head,
            removed: 0,
        }
    }

    /// Bytes of text that the last [`SegmentStream::push`] or [`SegmentStream::finish`] took away,
    /// in front of what it returned: a label and the line breaks before it.
    pub fn removed(&self) -> usize {
        self.removed
    }

    /// The part that text belongs to now.
    pub fn kind(&self) -> SegmentKind {
        self.kind
    }

    /// The text that `id` completes.
    pub fn push(&mut self, id: u32) -> Vec<SegmentText> {
        self.removed = 0;
        let ends = [
            (self.special.eot, SegmentKind::Commands),
            (self.special.eoc, SegmentKind::Answer),
            (self.special.eor, SegmentKind::Answer),
        ];
        if let Some((_, next)) = ends.into_iter().find(|(end, _)| *end == Some(id)) {
            let mut texts = self.finish();
            texts.retain(|text| !text.piece.is_empty());
            self.kind = next;
            self.head = Some(String::new());
            return texts;
        }
        let text = self.stream.push(id);
        self.pass(text)
    }

    /// What is left at the end.
    pub fn finish(&mut self) -> Vec<SegmentText> {
        self.removed = 0;
        let rest = self.stream.finish();
        let mut texts = self.pass(rest);
        if let Some(head) = self.head.take() {
            texts.extend(self.text(head));
        }
        texts
    }

    fn text(&self, piece: String) -> Option<SegmentText> {
        (!piece.is_empty()).then_some(SegmentText {
            kind: self.kind,
            piece,
        })
    }

    /// Takes the label off the beginning of a part.
    fn pass(&mut self, text: String) -> Vec<SegmentText> {
        let Some(head) = &mut self.head else {
            return self.text(text).into_iter().collect();
        };
        head.push_str(&text);
        let start = head.trim_start_matches('\n');
        let kinds = [
            SegmentKind::Thoughts,
            SegmentKind::Commands,
            SegmentKind::Answer,
        ];
        // The label says what the part is, whatever was expected.
        if let Some(kind) = kinds
            .into_iter()
            .find(|kind| start.starts_with(kind.label()))
        {
            let rest = start[kind.label().len()..].to_owned();
            self.removed = head.len() - rest.len();
            self.kind = kind;
            self.head = None;
            return self.text(rest).into_iter().collect();
        }
        if kinds.iter().any(|kind| kind.label().starts_with(start)) {
            return Vec::new(); // it may become one
        }
        let text = std::mem::take(head);
        self.head = None;
        self.text(text).into_iter().collect()
    }
}
