//! Errors of the folder, and faults of its files.

use std::{io, path::PathBuf};

use moss_messages::Message;

/// A fault of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum FileFault {
    /// It is not a file of a prompt cache.
    NotAPromptCache,
    /// Its format has another version.
    Version(u32),
    /// A length is outside of its limits.
    Length,
    /// It is shorter or longer than its header says.
    Size,
    /// Its header does not match its checksum.
    HeaderChecksum,
    /// Its name or its description is not text.
    NotText,
    /// It is of another model, of other code, or of other tokens.
    OtherPrefix,
    /// A block does not match its checksum.
    BlockChecksum(usize),
}

/// Errors of a prompt cache.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum PromptCacheError {
    /// A file cannot be used as one of the cache.
    Damaged {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: FileFault,
    },
    /// The operating system cannot read a file or a folder.
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The operating system cannot write a file or a folder.
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A block of another size than those of the file.
    BlockSize {
        /// Its bytes.
        found: usize,
        /// Bytes of a block of the file.
        expected: usize,
    },
    /// More blocks than the prefix has, or fewer at its end.
    BlockCount {
        /// Blocks written.
        found: usize,
        /// Blocks of the prefix.
        expected: usize,
    },
}
