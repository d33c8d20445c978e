//! The bytes of a pickle, read from front to back.

use super::{PickleError, PickleExpected};

/// Limit on the length of strings, in bytes.
pub(super) const MAX_STRING: usize = 1 << 16;

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Offset of the next byte.
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let at = self.at;
        self.take(N)?
            .try_into()
            .map_err(|_| PickleError::Truncated { at })
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], PickleError> {
        let taken = self.rest().get(..len).ok_or_else(|| self.truncated())?;
        self.at += len;
        Ok(taken)
    }

    /// Reads `len` bytes of UTF-8.
    pub(super) fn text(&mut self, len: usize) -> Result<&'a str, PickleError> {
        let bytes = self.take(len)?;
        self.utf8(bytes)
    }

    /// Reads UTF-8 up to a line feed, which is skipped.
    pub(super) fn line(&mut self) -> Result<&'a str, PickleError> {
        let rest = self.rest();
        let window = &rest[..rest.len().min(MAX_STRING)];
        let end = window.iter().position(|byte| *byte == b'\n');
        let line = self.take(end.ok_or_else(|| self.truncated())? + 1)?;
        self.utf8(&line[..line.len() - 1])
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn truncated(&self) -> PickleError {
        PickleError::Truncated {
            at: self.bytes.len(),
        }
    }

    fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str, PickleError> {
        std::str::from_utf8(bytes).map_err(|_| PickleError::Value {
            expected: PickleExpected::Utf8,
            at: self.at,
        })
    }
}
