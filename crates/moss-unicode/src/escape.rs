//! Escaping of text from elsewhere before it is shown.

use std::{borrow::Cow, fmt::Write};

/// Where a text is shown, which decides what must be escaped and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// Part of one line: a name, a value, a message. Line ends are escaped too.
    Line,
    /// Lines of prose, such as an answer: line feeds and tabs pass.
    Text,
    /// A JSON document: line feeds pass, and the escapes are those of JSON strings, so that its
    /// value does not change.
    Json,
}

/// Escapes every character that a terminal or a log viewer would obey instead of show: C0 and C1
/// control characters, DEL, Unicode line separators, and the controls of bidirectional text, which
/// can make a line read as another one.
pub fn escape(text: &str, context: Context) -> Cow<'_, str> {
    let Some(first) = text.find(|c| is_obeyed(c, context)) else {
        return Cow::Borrowed(text);
    };
    let (clean, rest) = text.split_at(first);
    let mut escaped = clean.to_owned();
    for c in rest.chars() {
        match (is_obeyed(c, context), context) {
            (false, _) => escaped.push(c),
            (true, Context::Json) => {
                // all of them are in the basic plane
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            (true, _) => escaped.extend(c.escape_default()),
        }
    }
    Cow::Owned(escaped)
}

fn is_obeyed(c: char, context: Context) -> bool {
    match (c, context) {
        ('\n', Context::Text | Context::Json) | ('\t', Context::Text) => false,
        // Marks set the direction of what has none; prose in Arabic and Hebrew needs them. In a
        // name they only deceive.
        ('\u{61c}' | '\u{200e}' | '\u{200f}', Context::Text) => false,
        ('\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{feff}', _) => true,
        ('\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}', _) => true,
        _ => c.is_control(),
    }
}
