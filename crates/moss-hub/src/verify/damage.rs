//! What is wrong with a file of the cache.

use std::{io, path::PathBuf};

use moss_messages::Message;

/// A file of the cache that is not what the hub published.
#[derive(Debug)]
pub struct DamagedFile {
    /// Its name in the model, such as `pytorch_model.bin`; its hash if no snapshot names it.
    pub name: String,
    /// Its path: a blob, or a name in a snapshot.
    pub path: PathBuf,
    /// What is wrong.
    pub damage: Damage,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum Damage {
    /// No file, or a link that leads nowhere.
    Missing,
    /// A folder, a named pipe or a device in the place of a file.
    NotAFile,
    /// Shorter or longer than the hub's listing says.
    Length {
        /// On the disk.
        found: u64,
        /// Of the listing.
        expected: u64,
    },
    /// Other bytes than those that were published.
    Hash {
        /// Of the bytes on the disk.
        found: String,
        /// Of the listing, or the blob's name.
        expected: String,
    },
    /// The system cannot read it.
    Unreadable {
        /// What the system said.
        #[message(display)]
        source: io::Error,
    },
}
