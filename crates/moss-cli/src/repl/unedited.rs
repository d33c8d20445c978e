//! Lines of a terminal that does not support editing. The kernel edits them, and delivers Ctrl-C as
//! the end of a line, in order with the typed text (see `terminal`).

use std::io::{self, BufRead, ErrorKind};

/// Input at a prompt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// A line without its end. It may not be valid UTF-8.
    Line(Vec<u8>),
    /// The interrupt key, after text or on an empty line.
    Interrupt { is_empty: bool },
    /// The end of input.
    End,
}

/// Reads up to the end of a line or the interrupt key, and not further.
pub(super) fn read(input: &mut impl BufRead, interrupt: Option<u8>) -> io::Result<Typed> {
    let mut line = Vec::new();
    loop {
        let available = match input.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            available => available?,
        };
        if available.is_empty() {
            return Ok(match line.is_empty() {
                true => Typed::End,
                false => Typed::Line(line),
            });
        }
        let is_end = |byte: &u8| *byte == b'\n' || Some(*byte) == interrupt;
        let Some(at) = available.iter().position(is_end) else {
            let length = available.len();
            line.extend_from_slice(available);
            input.consume(length);
            continue;
        };
        line.extend_from_slice(&available[..at]);
        let is_interrupt = Some(available[at]) == interrupt;
        input.consume(at + 1);
        if is_interrupt {
            let is_empty = line.is_empty();
            return Ok(Typed::Interrupt { is_empty });
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        return Ok(Typed::Line(erase(line)));
    }
}

/// Applies backspaces, for terminals whose key is not the kernel's erase character.
fn erase(line: Vec<u8>) -> Vec<u8> {
    if !line.contains(&8) {
        return line;
    }
    let mut kept = Vec::new();
    for byte in line {
        if byte == 8 {
            while kept.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {}
        } else {
            kept.push(byte);
        }
    }
    kept
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_interrupt_key_ends_a_line_where_it_was_typed_and_later_input_is_kept() {
        let mut input = &b"one\r\nab\x03\x03\xe9t\xe9\nx\xe4\xbd\xa0\x08y\nlast"[..];
        let mut next = || read(&mut input, Some(3)).unwrap();
        assert_eq!(next(), Typed::Line(b"one".to_vec()));
        assert_eq!(next(), Typed::Interrupt { is_empty: false });
        assert_eq!(next(), Typed::Interrupt { is_empty: true });
        assert_eq!(next(), Typed::Line(b"\xe9t\xe9".to_vec()));
        assert_eq!(next(), Typed::Line(b"xy".to_vec()));
        assert_eq!(next(), Typed::Line(b"last".to_vec()));
        assert_eq!(next(), Typed::End);
        let mut input = &b"a\x03b\n"[..];
        let line = read(&mut input, None).unwrap();
        assert_eq!(line, Typed::Line(b"a\x03b".to_vec()));
    }
}
