//! Small files as text, and checks of what is at a path.

use std::{fs, path::Path};

use moss_files::FileKind;

use crate::{
    CheckpointError,
    error::{FileRole, Lookalike},
};

/// Reads a whole JSON file. The published ones are smaller than 50 KB; a file above
/// [`moss_files::MAX_BYTES`] is an error.
pub(crate) fn read(path: &Path, expected: FileRole) -> Result<Vec<u8>, CheckpointError> {
    expect_file(path, expected)?;
    let read = |source| CheckpointError::Read {
        file: path.to_owned(),
        source,
    };
    moss_files::read_bytes(path, moss_files::MAX_BYTES).map_err(read)
}

/// Decodes a JSON file, which a user may have edited: a byte order mark is skipped.
pub(crate) fn text<'a>(bytes: &'a [u8], path: &Path) -> Result<&'a str, CheckpointError> {
    moss_unicode::decode(bytes).map_err(|source| CheckpointError::Encoding {
        file: path.to_owned(),
        source,
    })
}

/// Rejects folders, dangling links, special files and empty files.
pub(crate) fn expect_file(path: &Path, expected: FileRole) -> Result<(), CheckpointError> {
    let wrong = |found| CheckpointError::WrongKind {
        file: path.to_owned(),
        found,
        expected,
    };
    let data = match fs::metadata(path) {
        Ok(data) => data,
        Err(_) if fs::symlink_metadata(path).is_ok() => return Err(wrong(FileKind::DanglingLink)),
        Err(source) => {
            return Err(CheckpointError::Read {
                file: path.to_owned(),
                source,
            });
        }
    };
    match (data.is_dir(), data.is_file(), data.len()) {
        (true, ..) => Err(wrong(FileKind::Folder)),
        (_, false, _) => Err(wrong(FileKind::Special)),
        (.., 0) => Err(wrong(FileKind::Empty)),
        _ => Ok(()),
    }
}

/// Returns the kind of a text that is often downloaded in place of weights; `None` for other
/// content.
pub(crate) fn lookalike(bytes: &[u8]) -> Option<Lookalike> {
    // The start is enough, and touches one page of a mapped file.
    let head = bytes
        .get(..bytes.len().min(512))
        .unwrap_or_default()
        .trim_ascii_start();
    if head.starts_with(b"version https://git-lfs") {
        return Some(Lookalike::GitLfsPointer);
    }
    let lower = head
        .get(..head.len().min(16))
        .unwrap_or_default()
        .to_ascii_lowercase();
    (lower.starts_with(b"<!doctype") || lower.starts_with(b"<html")).then_some(Lookalike::WebPage)
}
