//! Escaping of foreign text before it is shown.

use std::{borrow::Cow, fmt::Write};

/// The place of a text, which determines the characters to escape and the form of the escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// Part of one line: a name, a value, a message. Line ends are escaped too.
    Line,
    /// Lines of prose, such as a reply: line feeds and tabs are kept.
    Text,
    /// A JSON document: line feeds are kept, and the escapes are those of JSON strings, so its value
    /// does not change.
    Json,
}

/// Escapes every character that a terminal or a log viewer would interpret instead of show: C0 and
/// C1 control characters, DEL, Unicode line separators, and bidirectional controls, which can
/// change the apparent order of a line.
pub fn escape(text: &str, context: Context) -> Cow<'_, str> {
    let Some(first) = text.find(|c| is_control(c, context)) else {
        return Cow::Borrowed(text);
    };
    let (clean, rest) = text.split_at(first);
    let mut escaped = clean.to_owned();
    for c in rest.chars() {
        match (is_control(c, context), context) {
            (false, _) => escaped.push(c),
            (true, Context::Json) => {
                // all of them are in the basic multilingual plane
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            (true, _) => escaped.extend(c.escape_default()),
        }
    }
    Cow::Owned(escaped)
}

fn is_control(c: char, context: Context) -> bool {
    match (c, context) {
        ('\n', Context::Text | Context::Json) | ('\t', Context::Text) => false,
        // Prose in Arabic and Hebrew needs direction marks. In a name, they are misleading.
        ('\u{61c}' | '\u{200e}' | '\u{200f}', Context::Text) => false,
        ('\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{feff}', _) => true,
        ('\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}', _) => true,
        _ => c.is_control(),
    }
}
