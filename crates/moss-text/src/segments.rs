//! The parts of a plugin model's reply, told apart: thoughts, commands, answer.
//!
//! ```text
//! <|Inner Thoughts|>: …<eot>\n<|Commands|>: …<eoc>      then results are put in      \n<|MOSS|>: …<eom>
//! ```

use crate::{SpecialTokens, traced::Traced};

/// The text of a part that has nothing to say. A model whose commands are this text calls no
/// plugin, and expects the same text as results.
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
    const ALL: [Self; 3] = [Self::Thoughts, Self::Commands, Self::Answer];

    fn label(self) -> &'static str {
        match self {
            Self::Thoughts => "<|Inner Thoughts|>:",
            Self::Commands => "<|Commands|>:",
            Self::Answer => "<|MOSS|>:",
        }
    }

    /// The part that follows the special token `id`, if that ends a part.
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

/// Takes labels off the beginnings of parts, and white space off the beginning of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Segments {
    kind: SegmentKind,
    /// Text that may still turn out to be a label; `None` once the label is past.
    head: Option<Traced>,
    /// The part has no text yet.
    is_new: bool,
}

impl Segments {
    /// A reply that begins with `kind`. `labelled` says that the model writes the label itself,
    /// `continues` that the part has text already.
    pub(crate) fn new(kind: SegmentKind, labelled: bool, continues: bool) -> Self {
        Self {
            kind,
            head: labelled.then(Traced::default),
            is_new: !continues,
        }
    }

    /// The part that text belongs to now.
    pub(crate) fn kind(&self) -> SegmentKind {
        self.kind
    }

    /// The number of the token that the first byte held back comes from.
    pub(crate) fn first_owner(&self) -> Option<u32> {
        self.head.as_ref().and_then(Traced::first_owner)
    }

    /// Begins another part, whose label is expected to be that of `kind`.
    pub(crate) fn begin(&mut self, kind: SegmentKind) {
        *self = Self::new(kind, true, false);
    }

    /// Returns what `text` adds to the part.
    pub(crate) fn push(&mut self, text: Traced) -> Traced {
        let Some(head) = &mut self.head else {
            return self.said(text);
        };
        head.append(text);
        let start = head.text().trim_start_matches('\n');
        // The label says what the part is, whatever was expected.
        let labelled = |kind: &SegmentKind| start.starts_with(kind.label());
        if let Some(kind) = SegmentKind::ALL.into_iter().find(labelled) {
            let label = head.text().len() - start.len() + kind.label().len();
            let rest = head.split_off(label);
            (self.kind, self.head) = (kind, None);
            return self.said(rest);
        }
        let may_become = |kind: SegmentKind| kind.label().starts_with(start);
        if SegmentKind::ALL.into_iter().any(may_become) {
            return Traced::default();
        }
        self.finish()
    }

    /// Returns text that was held back in vain.
    pub(crate) fn finish(&mut self) -> Traced {
        let head = self.head.take().unwrap_or_default();
        self.said(head)
    }

    /// The white space behind an answer's label belongs to the label.
    fn said(&mut self, mut text: Traced) -> Traced {
        if self.is_new && self.kind == SegmentKind::Answer {
            let space = text.text().len() - text.text().trim_start().len();
            text = text.split_off(space);
        }
        self.is_new &= text.is_empty();
        text
    }
}
