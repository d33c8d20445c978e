//! The segments of a plugin model's reply: thoughts, commands, answer.
//!
//! ```text
//! <|Inner Thoughts|>: …<eot>\n<|Commands|>: …<eoc>      then results are inserted      \n<|MOSS|>: …<eom>
//! ```

use crate::{SpecialTokens, traced::Traced};

/// The text of an empty segment. A model whose commands are this text calls no plugin, and expects
/// the same text as results.
pub const EMPTY_PART: &str = "None";

/// The results of a call that generates a picture.
const PICTURE: &str = "Image generated successfully.";

/// Returns a results segment with its label and without `<eor>`, in the form of the training data:
/// results are on separate lines, except the one of a picture.
pub(crate) fn results_segment(results: &str) -> String {
    let lines = results.trim_end_matches('\n');
    if lines.trim() == PICTURE {
        return format!("\n<|Results|>: {PICTURE}");
    }
    format!("\n<|Results|>:\n{lines}\n")
}

/// A segment of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// The model's inner thoughts.
    Thoughts,
    /// Calls to plugins.
    Commands,
    /// The answer to the user; for models without plugins the whole reply.
    Answer,
}

impl SegmentKind {
    const ALL: [Self; 3] = [Self::Thoughts, Self::Commands, Self::Answer];

    fn label(self) -> &'static str {
        match self {
            Self::Thoughts => "<|Inner Thoughts|>:",
            Self::Commands => "<|Commands|>:",
            Self::Answer => "<|MOSS|>:",
        }
    }

    /// Returns the segment after the special token `id`, if that ends a segment.
    pub(crate) fn after(id: u32, special: &SpecialTokens) -> Option<Self> {
        let ends = [
            (special.eot, Self::Commands),
            (special.eoc, Self::Answer),
            (special.eor, Self::Answer),
        ];
        let found = ends.into_iter().find(|(end, _)| *end == Some(id));
        found.map(|(_, next)| next)
    }
}

/// Removes the labels of segments, and white space from the start of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Segments {
    kind: SegmentKind,
    /// Text that may be the start of a label; `None` after the label.
    head: Option<Traced>,
    /// Is true if the segment has no text yet.
    is_new: bool,
}

impl Segments {
    /// Creates the state for a reply that begins with `kind`. With `labelled`, the model writes the
    /// label; with `continues`, the segment has text already.
    pub(crate) fn new(kind: SegmentKind, labelled: bool, continues: bool) -> Self {
        Self {
            kind,
            head: labelled.then(Traced::default),
            is_new: !continues,
        }
    }

    /// Returns the current segment.
    pub(crate) fn kind(&self) -> SegmentKind {
        self.kind
    }

    /// Returns the number of the token of the first byte that is held back.
    pub(crate) fn first_owner(&self) -> Option<u32> {
        self.head.as_ref().and_then(Traced::first_owner)
    }

    /// Begins another segment, which is `kind` unless its label says otherwise.
    pub(crate) fn begin(&mut self, kind: SegmentKind) {
        *self = Self::new(kind, true, false);
    }

    /// Returns the text that `text` adds to the segment.
    pub(crate) fn push(&mut self, text: Traced) -> Traced {
        let Some(head) = &mut self.head else {
            return self.trimmed(text);
        };
        head.append(text);
        let start = head.text().trim_start_matches('\n');
        // The label determines the segment.
        let labelled = |kind: &SegmentKind| start.starts_with(kind.label());
        if let Some(kind) = SegmentKind::ALL.into_iter().find(labelled) {
            let label = head.text().len() - start.len() + kind.label().len();
            let rest = head.split_off(label);
            (self.kind, self.head) = (kind, None);
            return self.trimmed(rest);
        }
        let may_become = |kind: SegmentKind| kind.label().starts_with(start);
        if SegmentKind::ALL.into_iter().any(may_become) {
            return Traced::default();
        }
        self.finish()
    }

    /// Returns text that was held back but is not a label.
    pub(crate) fn finish(&mut self) -> Traced {
        let head = self.head.take().unwrap_or_default();
        self.trimmed(head)
    }

    /// Removes the white space after an answer's label.
    fn trimmed(&mut self, mut text: Traced) -> Traced {
        if self.is_new && self.kind == SegmentKind::Answer {
            let space = text.text().len() - text.text().trim_start().len();
            text = text.split_off(space);
        }
        self.is_new &= text.is_empty();
        text
    }
}
