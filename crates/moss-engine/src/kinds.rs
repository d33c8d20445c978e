//! The kinds with which the tokens of a prefix were computed.

use moss_model::TokenKind;

/// The positions at which the kind of a sequence's tokens changes. The first tokens are prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KindChanges(Vec<usize>);

impl KindChanges {
    /// Records that the tokens from `start` on are of `kind`.
    pub(crate) fn push(&mut self, start: usize, kind: TokenKind) {
        if kind != kind_after(&self.0) {
            self.0.push(start);
        }
    }

    /// Replaces the kinds from `start` on by those of `other` up to `end`.
    pub(crate) fn extend(&mut self, other: &Self, start: usize, end: usize) {
        self.truncate(start);
        let before = other.0.partition_point(|change| *change <= start);
        self.push(start, kind_after(&other.0[..before]));
        self.0.extend(&other.until(end)[before..]);
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

/// Returns the kind of the tokens after these changes.
fn kind_after(changes: &[usize]) -> TokenKind {
    if changes.len().is_multiple_of(2) {
        TokenKind::Prompt
    } else {
        TokenKind::Generated
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

    #[test]
    fn kinds_continue_with_those_of_another_sequence() {
        let other = KindChanges(vec![4, 10, 20]);
        let extended = |own: &[usize], start, end| {
            let mut kinds = KindChanges(own.to_vec());
            kinds.extend(&other, start, end);
            kinds.0
        };
        assert_eq!(extended(&[], 0, 16), [4, 10]);
        assert_eq!(extended(&[], 8, 24), [8, 10, 20]);
        assert_eq!(extended(&[2], 4, 10), [2]);
        assert_eq!(extended(&[2], 12, 16), [2, 12]);
        assert_eq!(extended(&[2, 14], 12, 24), [2, 12, 20]);
    }
}
