//! Reads small files that users and checkpoints provide, such as `config.json`, tokenizer files and
//! key files.
//!
//! The type and the size of a file are checked before its first byte is read: a named pipe would
//! block forever, and a device such as `/dev/zero` never ends. A UTF-8 byte-order mark is removed;
//! UTF-16 is detected and reported.

mod error;

use std::{
    fs::{self, File, FileType, Metadata},
    io::{self, Read},
    path::Path,
};

pub use error::{FileError, FileKind};
use moss_unicode::{decode, decode_start};

/// Largest configuration, index or tokenizer file that is read. The published ones are below 4 MB.
pub const MAX_BYTES: u64 = 64 << 20;

/// Flushes a file to disk. Does nothing on a file system that does not support this, such as some
/// network and FUSE file systems.
///
/// # Errors
/// The system's, for bytes that cannot be written.
pub fn sync(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if cannot_sync(&error) => Ok(()),
        result => result,
    }
}

/// Returns `true` for EINVAL, ENOSYS and ENOTSUP.
fn cannot_sync(error: &io::Error) -> bool {
    const ENOTSUP: &[i32] = if cfg!(target_os = "linux") {
        &[95]
    } else {
        &[45, 102] // and EOPNOTSUPP, which differs on some systems
    };
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    ) || error
        .raw_os_error()
        .is_some_and(|code| ENOTSUP.contains(&code))
}

/// Reads a whole regular file of at most `limit` bytes.
///
/// # Errors
/// The system's error, or one that holds a [`FileError`] for anything but a regular file and for a
/// file that is too large.
pub fn read_bytes(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::from(FileError::TooLarge { limit });
    let size = expect_regular(&metadata(path)?)?;
    if size > limit {
        return Err(too_large());
    }
    let file = File::open(path)?;
    expect_regular(&file.metadata()?)?; // another file may have replaced it meanwhile
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    // A file can grow meanwhile, and those of /proc claim to be empty.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Reads a whole text file of at most `limit` bytes, without its UTF-8 byte-order mark. The bytes
/// need not be valid UTF-8: a JSON parser reports where they are not.
///
/// # Errors
/// As [`read_bytes`], and [`FileError::Text`] for UTF-16 and UTF-32.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = read_bytes(path, limit)?;
    let text = decode_start(&bytes).map_err(FileError::from)?.len();
    bytes.drain(..bytes.len() - text);
    Ok(bytes)
}

/// Reads a whole UTF-8 file of at most `limit` bytes, without its byte-order mark.
///
/// # Errors
/// As [`read_bytes`], and [`FileError::Text`].
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    let bytes = read_bytes(path, limit)?;
    Ok(decode(&bytes).map_err(FileError::from)?.to_owned())
}

fn metadata(path: &Path) -> io::Result<Metadata> {
    fs::metadata(path).map_err(|error| match fs::symlink_metadata(path) {
        Ok(_) if error.kind() == io::ErrorKind::NotFound => FileError::Kind {
            found: FileKind::DanglingLink,
        }
        .into(),
        _ => error,
    })
}

/// Returns the size of a regular file.
///
/// # Errors
/// [`FileError::Kind`] for any other kind.
pub fn expect_regular(data: &Metadata) -> Result<u64, FileError> {
    if data.is_file() {
        Ok(data.len())
    } else {
        Err(FileError::Kind {
            found: kind(data.file_type()),
        })
    }
}

fn kind(kind: FileType) -> FileKind {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return FileKind::NamedPipe;
        }
        if kind.is_char_device() || kind.is_block_device() {
            return FileKind::Device;
        }
        if kind.is_socket() {
            return FileKind::Socket;
        }
    }
    if kind.is_dir() {
        FileKind::Folder
    } else {
        FileKind::Special
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_cannot_sync_is_distinguished_from_a_failing_disk() {
        let cannot = |code| cannot_sync(&io::Error::from_raw_os_error(code));
        assert_eq!(
            [22, 38, 95].map(cannot),
            [true; 3],
            "EINVAL, ENOSYS, ENOTSUP"
        );
        assert_eq!([5, 28, 122].map(cannot), [false; 3], "EIO, ENOSPC, EDQUOT");
    }
}
