//! A read-only mapping of a weight file.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use memmap2::Mmap;

use crate::{CheckpointError, files};

/// A mapped file. Clones share the mapping, which lives as long as any view of it.
#[derive(Debug, Clone)]
pub(crate) struct MappedFile {
    path: PathBuf,
    file: Arc<File>,
    map: Arc<Mmap>,
    bytes: Bytes,
}

/// The smallest page there is. Larger ones are refused by the system, which is harmless.
pub(crate) const PAGE: usize = 4096;

/// Lets [`Bytes`] keep the mapping alive.
struct Owner(Arc<Mmap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl MappedFile {
    pub(crate) fn open(path: &Path) -> Result<Self, CheckpointError> {
        files::expect_file(path, "a weight file")?;
        let read = |source| CheckpointError::Read { file: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        let map = Arc::new(map_file(&file).map_err(read)?);
        let bytes = Bytes::from_owner(Owner(map.clone()));
        Ok(Self { path: path.to_owned(), file: Arc::new(file), map, bytes })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Reads `part`, a view of this mapping, into `to`, as long, with a system call: where several threads read, faster than their
    /// page faults, and a file that was cut short is an error. `None` for what is no view.
    pub(crate) fn read(&self, part: &[u8], to: &mut [u8]) -> Option<std::io::Result<()>> {
        let offset = (part.as_ptr() as usize).checked_sub(self.bytes.as_ptr() as usize)?;
        let is_view = offset + part.len() <= self.bytes.len() && to.len() == part.len();
        let named = |error: std::io::Error| {
            std::io::Error::new(error.kind(), format!("`{}`: {error}", self.path.display()))
        };
        is_view.then(|| read_exact_at(&self.file, part, offset as u64, to).map_err(named))
    }

    /// Drops the pages that lie wholly within `start..start + len` from this process; a later read maps them again.
    pub(crate) fn release(&self, start: usize, len: usize) {
        let first = start.next_multiple_of(PAGE);
        let end = (start + len) / PAGE * PAGE;
        if end > first {
            drop_pages(&self.map, first, end - first);
        }
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, _part: &[u8], offset: u64, to: &mut [u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, to, offset)
}

#[cfg(not(unix))]
fn read_exact_at(_file: &File, part: &[u8], _offset: u64, to: &mut [u8]) -> std::io::Result<()> {
    to.copy_from_slice(part);
    Ok(())
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the mapping is private and read-only. A file that another process cuts short while it is mapped ends this one
    // with SIGBUS, as with every engine that maps weights; the bytes themselves are only ever read as plain numbers.
    unsafe { Mmap::map(file) }
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn drop_pages(map: &Mmap, start: usize, len: usize) {
    // SAFETY: the mapping is file-backed and never written, so a page that is dropped reads the same bytes when it is
    // touched again; no view of it can see a change.
    let advised = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
    drop(advised); // a hint: when the system declines it, memory is merely kept longer
}

#[cfg(not(unix))]
fn drop_pages(_map: &Mmap, _start: usize, _len: usize) {}
