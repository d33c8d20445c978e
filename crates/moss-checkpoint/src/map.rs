//! The bytes of a weight file: a read-only mapping, or a copy in memory.

#[cfg(unix)]
mod registry;
#[cfg(unix)]
#[allow(unsafe_code)]
mod truncation;

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use memmap2::{Mmap, MmapMut};

use crate::{CheckpointError, error::FileRole, read};

/// The memory that holds weight files while a checkpoint is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightStorage {
    /// Memory-mapped: pages are read on first use, and shared with other processes. If a file is
    /// truncated in place meanwhile, reading it raises SIGBUS; [`exit_on_truncation`] turns that
    /// into a message and an exit status.
    #[default]
    Mapped,
    /// Read into memory when the checkpoint is opened: later changes to the files have no effect.
    /// Needs free memory for all weight files, and more for act-order checkpoints, whose linear
    /// layers are copied when they are loaded.
    InMemory,
}

/// The bytes of a weight file. Clones share them; they live as long as any view.
#[derive(Debug, Clone)]
pub(crate) struct MappedFile {
    path: PathBuf,
    file: Arc<File>,
    mapping: Arc<Mapping>,
    storage: WeightStorage,
    bytes: Bytes,
}

/// Bytes that are read, hashed or copied at a time.
pub(crate) const PIECE: usize = 16 << 20;

/// The smallest page size. A system with larger pages rejects ranges that are not aligned to them,
/// and keeps the pages.
const PAGE: usize = 4096;

/// A mapping, and its entry in the registry, which is dropped before the memory is unmapped.
#[derive(Debug)]
struct Mapping {
    #[cfg(unix)]
    _entry: Option<registry::Entry>,
    map: Mmap,
}

/// Lets [`Bytes`] keep the mapping alive.
struct Owner(Arc<Mapping>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0.map
    }
}

impl MappedFile {
    pub(crate) fn open(path: &Path, storage: WeightStorage) -> Result<Self, CheckpointError> {
        read::expect_file(path, FileRole::Weights)?;
        let read = |source| CheckpointError::Read {
            file: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(read)?;
        let map = match storage {
            WeightStorage::Mapped => map_file(&file),
            WeightStorage::InMemory => read_file(&file),
        };
        let map = map.map_err(read)?;
        let mapping = Arc::new(Mapping {
            #[cfg(unix)]
            _entry: (storage == WeightStorage::Mapped).then(|| registry::Entry::new(path, &map)),
            map,
        });
        let bytes = Bytes::from_owner(Owner(mapping.clone()));
        Ok(Self {
            path: path.to_owned(),
            file: Arc::new(file),
            mapping,
            storage,
            bytes,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_safetensors(&self) -> bool {
        let extension = self.path.extension();
        extension.is_some_and(|extension| extension == "safetensors")
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Copies `part`, a view of this file, into `to`, which has the same length. Returns `None` for
    /// a slice that is not a view. A mapped file is read by a system call: with several threads,
    /// that is faster than page faults, and a truncated file is an error instead of a SIGBUS.
    pub(crate) fn read(&self, part: &[u8], to: &mut [u8]) -> Option<std::io::Result<()>> {
        let offset = (part.as_ptr() as usize).checked_sub(self.bytes.as_ptr() as usize)?;
        let is_view = offset + part.len() <= self.bytes.len() && to.len() == part.len();
        let named = |error: std::io::Error| {
            std::io::Error::new(error.kind(), format!("`{}`: {error}", self.path.display()))
        };
        is_view.then(|| match self.storage {
            WeightStorage::Mapped => {
                read_exact_at(&self.file, part, offset as u64, to).map_err(named)
            }
            WeightStorage::InMemory => {
                to.copy_from_slice(part);
                Ok(())
            }
        })
    }

    /// Removes the pages that are wholly within `start..start + len` from this process; a later
    /// read maps them again. A copy in memory keeps its pages, because nothing could restore them.
    pub(crate) fn release(&self, start: usize, len: usize) {
        let first = start.next_multiple_of(PAGE);
        let end = (start + len) / PAGE * PAGE;
        if end > first && self.storage == WeightStorage::Mapped {
            drop_pages(&self.mapping.map, first, end - first);
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

/// Reads a file into anonymous memory, which is aligned to pages like a mapping.
fn read_file(mut file: &File) -> std::io::Result<Mmap> {
    let length = usize::try_from(file.metadata()?.len()).map_err(std::io::Error::other)?;
    let mut memory = MmapMut::map_anon(length)?;
    file.read_exact(&mut memory)?;
    memory.make_read_only()
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the mapping is private and read-only, and its bytes are read as integers only, for
    // which every bit pattern is valid. If another process truncates the file, reading raises
    // SIGBUS, which ends this process: see `exit_on_truncation`.
    unsafe { Mmap::map(file) }
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn drop_pages(map: &Mmap, start: usize, len: usize) {
    // SAFETY: the mapping is file-backed (`release` checks it) and never written, so a page that is
    // dropped has the same bytes when it is read again; views see no change.
    let advised =
        unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
    drop(advised); // advice only: on failure, the pages stay in memory
}

#[cfg(not(unix))]
fn drop_pages(_map: &Mmap, _start: usize, _len: usize) {}

/// Makes the process write `message` to stderr and exit with `status` when a mapped weight file can
/// no longer be read: it was truncated in place, or its disk failed. `{file}` in the message is
/// replaced by the file's path. Without this, the system ends the process with SIGBUS.
///
/// Installs a handler for SIGBUS for the whole process; call it once, at the start. Faults at other
/// addresses are passed to the previous handler. Does nothing on systems without this signal.
///
/// # Errors
/// [`std::io::ErrorKind::AlreadyExists`] for a second call; the system's error if the handler
/// cannot be installed.
pub fn exit_on_truncation(status: u8, message: &str) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        truncation::install(status, message)
    }
    #[cfg(not(unix))]
    {
        let _ = (status, message);
        Ok(())
    }
}
