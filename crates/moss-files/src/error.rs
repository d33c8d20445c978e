//! Errors of reading a file. The caller adds the file's name.

use std::io;

use moss_messages::Message;
use moss_unicode::DecodeError;

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum FileKind {
    /// A folder.
    Folder,
    /// A named pipe, which has no end.
    NamedPipe,
    /// A character or block device.
    Device,
    /// A socket.
    Socket,
    /// A symbolic link whose target does not exist.
    DanglingLink,
    /// A file without bytes.
    Empty,
    /// Another kind that is not a regular file.
    Special,
    /// A regular file.
    File,
}

/// A fault of a file that the operating system can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum FileError {
    /// Not a regular file.
    Kind {
        /// The kind.
        found: FileKind,
    },
    /// A file above the size limit.
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// Text in another encoding.
    #[error(transparent)]
    Text(#[from] DecodeError),
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
