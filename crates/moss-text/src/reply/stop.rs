//! Stop strings in streamed text.

use crate::traced::Traced;

/// Searches streamed text for stop strings. Text that may be the start of one is held back.
#[derive(Debug, Clone, Default)]
pub(crate) struct StopStrings {
    strings: Vec<String>,
    held: Traced,
}

impl StopStrings {
    /// Creates a search. Empty strings are ignored.
    pub(crate) fn new(strings: &[String]) -> Self {
        let strings = strings
            .iter()
            .filter(|string| !string.is_empty())
            .cloned()
            .collect();
        Self {
            strings,
            held: Traced::default(),
        }
    }

    /// Returns the number of the token of the first byte that is held back.
    pub(crate) fn first_owner(&self) -> Option<u32> {
        self.held.first_owner()
    }

    /// Returns the text that is safe to show, and the stop string that ends it, if one is complete.
    pub(crate) fn push(&mut self, piece: Traced) -> (Traced, Option<String>) {
        self.held.append(piece);
        let held = self.held.text();
        let found = self
            .strings
            .iter()
            .filter_map(|string| Some((held.find(string.as_str())?, string)));
        // The one that starts first; among several, the longest.
        if let Some((at, string)) =
            found.min_by_key(|(at, string)| (*at, std::cmp::Reverse(string.len())))
        {
            let string = string.clone();
            self.held.split_off(at);
            return (self.finish(), Some(string));
        }
        let begins = |tail: &str| self.strings.iter().any(|string| string.starts_with(tail));
        let keep = held
            .char_indices()
            .map(|(at, _)| at)
            .find(|at| begins(&held[*at..]))
            .unwrap_or(held.len());
        let rest = self.held.split_off(keep);
        (std::mem::replace(&mut self.held, rest), None)
    }

    /// Returns the text that was held back.
    pub(crate) fn finish(&mut self) -> Traced {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::traced::Pending;

    fn traced(text: &str) -> Traced {
        let mut pending = Pending::default();
        pending.push(text.as_bytes(), None);
        pending.decode(true)
    }

    fn feed(strings: &[&str], pieces: &[&str]) -> (String, Option<String>) {
        let mut stop = StopStrings::new(
            &strings
                .iter()
                .map(|string| string.to_string())
                .collect::<Vec<_>>(),
        );
        let mut text = String::new();
        for piece in pieces {
            let (shown, found) = stop.push(traced(piece));
            text.push_str(shown.text());
            if found.is_some() {
                return (text, found);
            }
        }
        text.push_str(stop.finish().text());
        (text, None)
    }

    #[test]
    fn a_stop_string_split_over_pieces_is_found_and_never_shown() {
        assert_eq!(
            feed(&["<|Human|>"], &["你好<", "|Hum", "an|", ">再见"]),
            ("你好".into(), Some("<|Human|>".into()))
        );
        assert_eq!(
            feed(&["停😀"], &["说停", "😀"]),
            ("说".into(), Some("停😀".into()))
        );
    }

    #[test]
    fn an_incomplete_stop_string_is_shown_at_the_end() {
        assert_eq!(
            feed(&["<|Human|>"], &["a <|", "Hum", "!"]),
            ("a <|Hum!".into(), None)
        );
        assert_eq!(feed(&["abc"], &["xab"]), ("xab".into(), None));
        assert_eq!(
            feed(&["aab"], &["aa", "ab"]),
            ("a".into(), Some("aab".into()))
        );
    }

    proptest! {
        #[test]
        fn any_division_into_pieces_gives_the_text_up_to_the_first_stop_string(text in "[ab停]{0,20}", cuts in prop::collection::vec(0usize..6, 0..20)) {
            let strings = ["aba", "停b"];
            let mut pieces = Vec::new();
            let mut rest: &str = &text;
            for cut in cuts {
                let at = rest.char_indices().nth(cut).map_or(rest.len(), |(at, _)| at);
                let (piece, tail) = rest.split_at(at);
                pieces.push(piece);
                rest = tail;
            }
            pieces.push(rest);
            let first = strings.iter().filter_map(|string| text.find(string)).min();
            let (shown, found) = feed(&strings, &pieces);
            prop_assert_eq!(shown, &text[..first.unwrap_or(text.len())]);
            prop_assert_eq!(found.is_some(), first.is_some());
        }
    }
}
