//! Damage of files in the cache.

use std::{io, path::PathBuf};

use moss_messages::Message;

/// A file of the cache that differs from the published one.
#[derive(Debug)]
pub struct DamagedFile {
    /// Its name in the model, such as `pytorch_model.bin`; its hash if no snapshot names it.
    pub name: String,
    /// Its path: a blob, or a name in a snapshot.
    pub path: PathBuf,
    /// The damage.
    pub damage: Damage,
}

/// The damage of a file.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum Damage {
    /// The file is missing, or a dangling link.
    Missing,
    /// A folder, a named pipe or a device instead of a file.
    NotAFile,
    /// A length that differs from the hub's listing.
    Length {
        /// The length on disk.
        found: u64,
        /// The length in the listing.
        expected: u64,
    },
    /// A wrong hash.
    Hash {
        /// The hash of the bytes on disk.
        found: String,
        /// The hash in the listing, or the blob's name.
        expected: String,
    },
    /// The file cannot be read.
    Unreadable {
        /// The system's error.
        #[message(display)]
        source: io::Error,
    },
}
