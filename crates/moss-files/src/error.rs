//! Why a file is not read, in English and in Chinese. The caller names the file.

use std::io;

use moss_unicode::DecodeError;

/// What is wrong with a file that the operating system would let a program read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// A folder, a pipe, a device.
    #[error("found {found}, expected a regular file")]
    Kind {
        /// "a folder", "a named pipe", "a device", "a socket", "a dangling link".
        found: &'static str,
    },
    /// More bytes than such a file can have.
    #[error("the file is larger than {limit} bytes, the most that is read")]
    TooLarge {
        /// Bytes that are read at most.
        limit: u64,
    },
    /// Text in another encoding.
    #[error(transparent)]
    Text(#[from] DecodeError),
}

impl FileError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Kind {
                found: "a dangling link",
            } => "the link's target was moved or deleted: download or copy the file again".into(),
            Self::Kind { .. } => {
                "give the path of a file on a disk; pipes and devices are not read".into()
            }
            Self::Text(error) => return error.hint(),
            Self::TooLarge { .. } => return None,
        })
    }

    /// The error in Chinese, with the same names and numbers.
    pub fn zh(&self) -> String {
        match self {
            Self::Kind { found } => format!("这是{}，应为普通文件", phrase(found)),
            Self::TooLarge { limit } => format!("文件超过 {limit} 字节，即读取的上限"),
            Self::Text(error) => error.zh(),
        }
    }

    /// [`FileError::hint`] in Chinese.
    pub fn hint_zh(&self) -> Option<String> {
        Some(match self {
            Self::Kind {
                found: "a dangling link",
            } => "链接的目标已被移动或删除：请重新下载或复制该文件".into(),
            Self::Kind { .. } => "请给出磁盘上文件的路径；不读取管道和设备".into(),
            Self::Text(error) => return error.hint_zh(),
            Self::TooLarge { .. } => return None,
        })
    }
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

fn phrase(en: &str) -> &str {
    match en {
        "a folder" => "文件夹",
        "a named pipe" => "命名管道",
        "a device" => "设备",
        "a socket" => "套接字",
        "a dangling link" => "失效的链接",
        "no regular file" => "特殊文件",
        other => other,
    }
}
