//! Draft tokens: the continuation of the longest suffix of a sequence that occurred before in it.
//!
//! Prompt and reply of one sequence are the only source, so nothing is shared between requests.

use std::collections::HashMap;

/// Tokens of a suffix that are compared. Longer matches count as equal, and the latest is used.
const LONGEST_MATCH: usize = 32;

/// Earlier occurrences of the last two tokens that are compared. It bounds the time per token.
const CANDIDATES: usize = 16;

/// Finds the continuation of the last tokens of one sequence.
///
/// The positions of each pair of tokens form a chain, the latest first, as in LZ77. A token is added
/// in constant time; a search compares at most [`CANDIDATES`] times [`LONGEST_MATCH`] tokens.
#[derive(Debug, Default)]
pub(crate) struct DraftIndex {
    /// The latest position after each pair of tokens.
    latest: HashMap<[u32; 2], u32>,
    /// The latest position after each token.
    latest_single: HashMap<u32, u32>,
    /// For each position, the position after the previous occurrence of the pair before it; 0 for
    /// none, as no pair is before position 0.
    previous: Vec<u32>,
}

/// An earlier occurrence of the last tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match {
    /// Position of the token after the occurrence.
    pub(crate) next: usize,
    /// Number of equal tokens, at most [`LONGEST_MATCH`].
    pub(crate) len: usize,
}

impl DraftIndex {
    /// Adds the tokens of `ids` that are not in the index yet, except for the last one: it becomes
    /// an earlier occurrence once a token follows it.
    fn extend(&mut self, ids: &[u32]) {
        for next in self.previous.len()..ids.len() {
            let before = &ids[..next];
            let previous = match before.last_chunk::<2>() {
                Some(pair) => self.latest.insert(*pair, next as u32).unwrap_or(0),
                None => 0,
            };
            if let Some(last) = before.last() {
                self.latest_single.insert(*last, next as u32);
            }
            self.previous.push(previous);
        }
    }

    /// Returns the latest of the longest matches of the end of `ids`, which extend those of the
    /// last call. Occurrences of the last two tokens before the latest [`CANDIDATES`] are not
    /// compared.
    pub(crate) fn longest_match(&mut self, ids: &[u32]) -> Option<Match> {
        self.extend(ids);
        let pair = ids.last_chunk::<2>()?;
        let mut best: Option<Match> = None;
        let mut next = self.latest.get(pair).copied().unwrap_or(0) as usize;
        for _ in 0..CANDIDATES {
            if next == 0 {
                break;
            }
            let len = common_suffix(&ids[..next], ids);
            if best.is_none_or(|best| len > best.len) {
                best = Some(Match { next, len });
            }
            if len == LONGEST_MATCH {
                break;
            }
            next = self.previous[next] as usize;
        }
        best.or_else(|| {
            let next = *self.latest_single.get(&pair[1])? as usize;
            Some(Match { next, len: 1 })
        })
    }
}

/// Returns the number of equal tokens at the ends of both, at most [`LONGEST_MATCH`].
fn common_suffix(a: &[u32], b: &[u32]) -> usize {
    let pairs = a.iter().rev().zip(b.iter().rev()).take(LONGEST_MATCH);
    pairs.take_while(|(a, b)| a == b).count()
}

/// Appends `count` tokens to `ids`: those after `from`. Behind the end of `ids`, they repeat the
/// drafts themselves, so a period continues.
pub(crate) fn append_drafts(ids: &mut Vec<u32>, from: Match, count: usize) {
    for position in from.next..from.next + count {
        let Some(id) = ids.get(position).copied() else {
            return;
        };
        ids.push(id);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drafts(ids: &[u32], count: usize) -> Vec<u32> {
        let mut all = ids.to_vec();
        if let Some(found) = DraftIndex::default().longest_match(ids) {
            append_drafts(&mut all, found, count);
        }
        all.split_off(ids.len())
    }

    #[test]
    fn the_longest_match_is_continued_and_of_equal_ones_the_latest() {
        assert_eq!(drafts(&[1, 2, 3, 9, 2, 3, 8, 1, 2, 3], 2), [9, 2]);
        assert_eq!(drafts(&[1, 2, 7, 1, 2, 8, 1, 2], 1), [8]);
        assert_eq!(drafts(&[5, 6, 7, 5], 2), [6, 7]);
    }

    #[test]
    fn a_sequence_without_repetition_has_no_draft() {
        for ids in [&[][..], &[1], &[1, 2, 3, 4]] {
            assert!(drafts(ids, 3).is_empty(), "{ids:?}");
        }
    }

    #[test]
    fn a_period_continues_behind_the_end() {
        assert_eq!(drafts(&[4, 4], 5), [4; 5]);
        assert_eq!(drafts(&[9, 1, 2, 3, 1, 2, 3], 7), [1, 2, 3, 1, 2, 3, 1]);
    }

    /// All matches of the end of `ids`, the latest first.
    fn every_match(ids: &[u32]) -> Vec<Match> {
        let nexts = (1..ids.len()).rev();
        let matches = nexts.map(|next| Match {
            next,
            len: common_suffix(&ids[..next], ids),
        });
        matches.filter(|found| found.len > 0).collect()
    }

    proptest! {
        /// `step` tokens are added between two searches.
        #[test]
        fn a_search_finds_the_best_of_the_candidates(
            ids in prop::collection::vec(0u32..6, 0..200),
            step in 1usize..9,
        ) {
            let mut index = DraftIndex::default();
            for end in (0..=ids.len()).step_by(step) {
                let ids = &ids[..end];
                let all = every_match(ids);
                let of_pair = all.iter().filter(|found| found.len > 1).take(CANDIDATES);
                let longest = of_pair.clone().map(|found| found.len).max();
                let expected = match longest {
                    Some(len) => of_pair.clone().find(|found| found.len == len),
                    None => all.first(),
                };
                let expected = expected.filter(|_| ids.len() > 1);
                prop_assert_eq!(index.longest_match(ids), expected.copied());
            }
        }

        #[test]
        fn drafts_are_the_tokens_that_followed(
            ids in prop::collection::vec(0u32..4, 2..100),
            count in 0usize..8,
        ) {
            let mut all = ids.clone();
            if let Some(found) = DraftIndex::default().longest_match(&ids) {
                append_drafts(&mut all, found, count);
                prop_assert_eq!(all.len(), ids.len() + count);
                let copied = &all[found.next..found.next + count];
                prop_assert_eq!(copied, &all[ids.len()..]);
                prop_assert_eq!(&all[found.next - found.len..found.next], &ids[ids.len() - found.len..]);
            }
        }
    }
}
