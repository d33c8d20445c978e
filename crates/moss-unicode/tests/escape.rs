//! Control sequences are always escaped.
#![allow(clippy::unwrap_used)]

use moss_unicode::{Context, escape};
use proptest::prelude::*;

const HOSTILE: &str = "a\x1b[31mred\x07\x08\0\x7f\u{9b}2J\u{85}\r\n\t\u{202e}gnp\u{2066}\u{2069}\u{200f}\u{2028}\u{feff}你好👨‍👩‍👧é";

#[test]
fn controls_of_every_kind_are_escaped_and_ordinary_text_is_kept() {
    assert_eq!(
        escape(HOSTILE, Context::Line),
        "a\\u{1b}[31mred\\u{7}\\u{8}\\u{0}\\u{7f}\\u{9b}2J\\u{85}\\r\\n\\t\\u{202e}gnp\\u{2066}\\u{2069}\\u{200f}\\u{2028}\\u{feff}你好👨‍👩‍👧é"
    );
    assert_eq!(
        escape("one\n\ttwo\u{1b}c\r\n", Context::Text),
        "one\n\ttwo\\u{1b}c\\r\n"
    );
    assert_eq!(escape("שלום\u{200f}!", Context::Text), "שלום\u{200f}!");
    assert_eq!(
        escape("{\"a\": \"\u{9b}\u{7f}\u{202e}é\"}\n", Context::Json),
        "{\"a\": \"\\u009b\\u007f\\u202eé\"}\n"
    );
}

proptest! {
    #[test]
    fn nothing_obeyed_is_left_and_a_second_pass_changes_nothing(chars in prop::collection::vec(any::<char>(), 0..40)) {
        let text: String = chars.into_iter().chain(HOSTILE.chars()).collect();
        for context in [Context::Line, Context::Text, Context::Json] {
            let once = escape(&text, context).into_owned();
            let left = once.chars().filter(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(c));
            let allowed: &[char] = match context {
                Context::Line => &[],
                Context::Text => &['\n', '\t'],
                Context::Json => &['\n'],
            };
            prop_assert!(left.into_iter().all(|c| allowed.contains(&c)), "{once:?}");
            prop_assert_eq!(escape(&once, context), once.as_str());
        }
    }
}
