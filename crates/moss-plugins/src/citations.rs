//! The citations of a streamed answer.

/// The text before and after the number of a citation.
const PARTS: [&str; 2] = ["<sup><|", "|></sup>"];
/// The most digits of a number.
const MAX_DIGITS: usize = 3;

/// Replaces the citations `<sup><|1|></sup>` of a streamed answer by `[1]`.
///
/// Text that may be the start of a citation is held back.
#[derive(Debug, Clone, Default)]
pub struct Citations {
    held: String,
    numbers: Vec<usize>,
}

impl Citations {
    /// Returns the text that a piece of an answer completes.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        let mut text = String::new();
        while let Some(start) = self.held.find('<') {
            text.push_str(&self.held[..start]);
            self.held.drain(..start);
            match tag(&self.held) {
                Tag::Citation { number, length } => {
                    self.held.drain(..length);
                    text.push_str(&format!("[{number}]"));
                    if !self.numbers.contains(&number) {
                        self.numbers.push(number);
                    }
                }
                Tag::Incomplete => return text,
                Tag::Text => {
                    text.push('<');
                    self.held.drain(..1);
                }
            }
        }
        text.push_str(&std::mem::take(&mut self.held));
        text
    }

    /// Returns the text that was held back.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Returns the numbers of the cited sources, in the order of their first citation.
    pub fn numbers(&self) -> &[usize] {
        &self.numbers
    }
}

enum Tag {
    Citation { number: usize, length: usize },
    Incomplete,
    Text,
}

/// Reads a citation at the start of a text.
fn tag(text: &str) -> Tag {
    let [before, after] = PARTS;
    let Some(rest) = text.strip_prefix(before) else {
        return if before.starts_with(text) {
            Tag::Incomplete
        } else {
            Tag::Text
        };
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, end) = rest.split_at(digits);
    if digits > MAX_DIGITS {
        return Tag::Text;
    }
    match number.parse() {
        Ok(number) if end.starts_with(after) => Tag::Citation {
            number,
            length: before.len() + digits + after.len(),
        },
        _ if after.starts_with(end) && (digits > 0 || end.is_empty()) => Tag::Incomplete,
        _ => Tag::Text,
    }
}
