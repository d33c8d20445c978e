//! Decoding of files and streams that a user may have written.

use moss_messages::Message;

/// The UTF-8 byte order mark, with which Windows programs start text files.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Bytes that are examined for UTF-16 without a byte order mark.
const EXAMINED: usize = 512;

/// An error of decoding bytes as UTF-8 text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum DecodeError {
    /// Another Unicode encoding, such as that of PowerShell 5 and of Notepad's "Unicode".
    Wide {
        /// The name in iconv: `UTF-16LE`, `UTF-16BE`, `UTF-32LE` or `UTF-32BE`.
        encoding: &'static str,
    },
    /// A byte that is not part of a UTF-8 sequence.
    NotUtf8 {
        /// Bytes before it.
        offset: usize,
        /// Line, from 1.
        line: usize,
        /// The byte.
        byte: u8,
    },
}

/// Decodes a whole file, such as JSON, and skips a UTF-8 byte order mark.
///
/// # Errors
/// [`DecodeError::Wide`] for UTF-16 and UTF-32, with or without a byte order mark;
/// [`DecodeError::NotUtf8`] for anything else that is not UTF-8. Offsets count the byte order mark.
pub fn decode(bytes: &[u8]) -> Result<&str, DecodeError> {
    let text = decode_start(bytes)?;
    std::str::from_utf8(text).map_err(|error| {
        let offset = bytes.len() - text.len() + error.valid_up_to();
        let line = bytes
            .iter()
            .take(offset)
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        DecodeError::NotUtf8 {
            offset,
            line,
            byte: bytes.get(offset).copied().unwrap_or_default(),
        }
    })
}

/// Decodes a whole file of prose: like [`decode`], with CRLF replaced by LF.
///
/// # Errors
/// Those of [`decode`].
pub fn decode_text(bytes: &[u8]) -> Result<String, DecodeError> {
    decode(bytes).map(|text| text.replace("\r\n", "\n"))
}

/// Skips a UTF-8 byte order mark in the first bytes of a stream. The rest need not be UTF-8.
///
/// # Errors
/// [`DecodeError::Wide`] for a stream that begins as UTF-16 or UTF-32.
pub fn decode_start(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    match wide_encoding(bytes) {
        Some(encoding) => Err(DecodeError::Wide { encoding }),
        None => Ok(bytes.strip_prefix(BOM).unwrap_or(bytes)),
    }
}

fn wide_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] => return Some("UTF-32LE"),
        [0, 0, 0xfe, 0xff, ..] => return Some("UTF-32BE"),
        [0xff, 0xfe, ..] => return Some("UTF-16LE"),
        [0xfe, 0xff, ..] => return Some("UTF-16BE"),
        _ => {}
    }
    // Without a mark, ASCII characters of UTF-16 show as NUL bytes, all in the same half of their
    // pairs.
    let (pairs, _) = bytes
        .get(..bytes.len().min(EXAMINED))
        .unwrap_or_default()
        .as_chunks::<2>();
    let nuls = |half: usize| pairs.iter().filter(|pair| pair[half] == 0).count();
    // A few other characters have a NUL in the other half, such as U+4E00, the Chinese one.
    let is_half = |many: usize, few: usize| many >= 2 && 4 * many >= pairs.len() && 4 * few <= many;
    match (nuls(0), nuls(1)) {
        (first, second) if is_half(second, first) => Some("UTF-16LE"),
        (first, second) if is_half(first, second) => Some("UTF-16BE"),
        // Chinese text may have no ASCII characters but its line ends.
        (0, _) if pairs.contains(b"\n\0") => Some("UTF-16LE"),
        (_, 0) if pairs.contains(b"\0\n") => Some("UTF-16BE"),
        _ => None,
    }
}
