//! The kinds with which the tokens of a prefix were computed.

use moss_model::TokenKind;

/// The positions at which the kind of a sequence's tokens changes. The first tokens are prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KindChanges(Vec<usize>);

impl KindChanges {
    /// Records that the tokens from `start` on are of `kind`.
    pub(crate) fn push(&mut self, start: usize, kind: TokenKind) {
        let last = if self.0.len().is_multiple_of(2) {
            TokenKind::Prompt
        } else {
            TokenKind::Generated
        };
        if kind != last {
            self.0.push(start);
        }
    }

    pub(crate) fn truncate(&mut self, positions: usize) {
        self.0.truncate(self.until(positions).len());
    }

    /// Returns true if the first `positions` tokens are all prompt.
    pub(crate) fn is_prompt(&self, positions: usize) -> bool {
        self.until(positions).is_empty()
    }

    /// Returns true if the first `positions` tokens have the same kinds as those of `other`.
    pub(crate) fn agrees(&self, other: &Self, positions: usize) -> bool {
        self.until(positions) == other.until(positions)
    }

    /// Returns the changes before `positions`.
    fn until(&self, positions: usize) -> &[usize] {
        &self.0[..self.0.partition_point(|start| *start < positions)]
    }
}

#[cfg(test)]
mod tests {
    use TokenKind::{Generated, Prompt};

    use super::*;

    #[test]
    fn only_changes_are_stored_and_prefixes_are_compared() {
        let mut kinds = KindChanges::default();
        for (start, kind) in [
            (0, Prompt),
            (8, Prompt),
            (20, Generated),
            (21, Generated),
            (30, Prompt),
        ] {
            kinds.push(start, kind);
        }
        assert_eq!(kinds, KindChanges(vec![20, 30]));
        assert!(kinds.is_prompt(20) && !kinds.is_prompt(21));
        let mut other = kinds.clone();
        other.truncate(30);
        assert_eq!(other, KindChanges(vec![20]));
        assert!(kinds.agrees(&other, 30) && !kinds.agrees(&other, 31));
    }
}
