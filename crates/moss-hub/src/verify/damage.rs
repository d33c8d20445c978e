//! What is wrong with a file of the cache.

use std::{io, path::PathBuf};

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
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// No file, or a link that leads nowhere.
    #[error("missing")]
    Missing,
    /// A folder, a named pipe or a device in the place of a file.
    #[error("not a regular file")]
    NotAFile,
    /// Shorter or longer than the hub's listing says.
    #[error("{found} bytes, expected {expected}")]
    Length {
        /// On the disk.
        found: u64,
        /// Of the listing.
        expected: u64,
    },
    /// Other bytes than those that were published.
    #[error("hash {found}, expected {expected}")]
    Hash {
        /// Of the bytes on the disk.
        found: String,
        /// Of the listing, or the blob's name.
        expected: String,
    },
    /// The system cannot read it.
    #[error("cannot be read: {source}")]
    Unreadable {
        /// What the system said.
        source: io::Error,
    },
}

impl Damage {
    /// The damage in Chinese, with the same numbers.
    pub fn zh(&self) -> String {
        match self {
            Self::Missing => "缺失".into(),
            Self::NotAFile => "不是普通文件".into(),
            Self::Length { found, expected } => format!("{found} 字节，应为 {expected}"),
            Self::Hash { found, expected } => format!("哈希为 {found}，应为 {expected}"),
            Self::Unreadable { source } => format!("无法读取：{source}"),
        }
    }
}
