//! Counters of a tokenizer's work, so that tests detect duplicate work.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The work of a tokenizer and its clones so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Bytes of text that were encoded.
    pub encoded_bytes: usize,
    /// Ids that were decoded.
    pub decoded_ids: usize,
}

/// Counters of [`Work`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) encoded_bytes: AtomicUsize,
    pub(crate) decoded_ids: AtomicUsize,
}

impl Counters {
    pub(crate) fn work(&self) -> Work {
        Work {
            encoded_bytes: self.encoded_bytes.load(Relaxed),
            decoded_ids: self.decoded_ids.load(Relaxed),
        }
    }
}
