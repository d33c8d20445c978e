//! Why a file is not read. The caller names the file.

use std::io;

use moss_messages::Message;
use moss_unicode::DecodeError;

/// What a path leads to.
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
    /// Something else that is not a regular file.
    Special,
    /// A regular file.
    File,
}

/// What is wrong with a file that the operating system would let a program read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum FileError {
    /// A folder, a pipe, a device.
    Kind {
        /// What the path leads to.
        found: FileKind,
    },
    /// More bytes than such a file can have.
    TooLarge {
        /// Bytes that are read at most.
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
