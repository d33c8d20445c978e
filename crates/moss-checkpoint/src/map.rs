//! The bytes of a weight file: a read-only mapping, or a copy in memory; and what happens when a
//! mapped file is truncated.

#[cfg(unix)]
mod registry;

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use memmap2::{Mmap, MmapMut};

use crate::{CheckpointError, error::FileRole, files};

/// Where the bytes of weight files are while a checkpoint is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightStorage {
    /// Memory-mapped: pages are read when they are used, and shared with other processes. A file
    /// that is truncated in place meanwhile raises SIGBUS; [`exit_on_truncation`] turns that into a
    /// message and an exit status.
    #[default]
    Mapped,
    /// Read into memory when the checkpoint is opened: nothing that happens to a file afterwards
    /// matters. Needs free memory for all weight files, and more for act-order checkpoints, whose
    /// linear layers are copied when they are loaded.
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

/// The smallest page there is. Larger ones are refused by the system, which is harmless.
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
        files::expect_file(path, FileRole::Weights)?;
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

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Reads `part`, a view of this file, into `to`, which has the same length. Of a mapped file it
    /// uses a system call: where several threads read, that is faster than their page faults, and a
    /// file that was truncated is an error. `None` for a slice that is not a view.
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

    /// Drops the pages that lie wholly within `start..start + len` from this process; a later read
    /// maps them again. A copy in memory keeps its pages: nothing could restore them.
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

/// Reads a file into anonymous memory, which is aligned to pages as a mapping is.
fn read_file(mut file: &File) -> std::io::Result<Mmap> {
    let length = usize::try_from(file.metadata()?.len()).map_err(std::io::Error::other)?;
    let mut memory = MmapMut::map_anon(length)?;
    file.read_exact(&mut memory)?;
    memory.make_read_only()
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the mapping is private and read-only, and its bytes are only ever read as plain
    // numbers. A file that another process truncates meanwhile raises SIGBUS, which ends this
    // process: see `exit_on_truncation`.
    unsafe { Mmap::map(file) }
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn drop_pages(map: &Mmap, start: usize, len: usize) {
    // SAFETY: the mapping is file-backed (`release` checks it) and never written, so a page that is
    // dropped reads the same bytes when it is touched again; no view of it can see a change.
    let advised =
        unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
    drop(advised); // a hint: when the system declines it, memory is merely kept longer
}

#[cfg(not(unix))]
fn drop_pages(_map: &Mmap, _start: usize, _len: usize) {}

/// Makes the process exit with `status` and write `message` to stderr when a mapped weight file can
/// no longer be read: it was truncated in place, or its disk failed. `{file}` in the message is
/// replaced by the file's path. Without this the system ends the process with SIGBUS.
///
/// Installs a handler for SIGBUS for the whole process; call it once, at the start. Faults at other
/// addresses are passed to the handler that was installed before. Does nothing on systems without
/// this signal.
///
/// # Errors
/// [`std::io::ErrorKind::AlreadyExists`] for a second call; what the system says when it refuses
/// the handler.
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

#[cfg(unix)]
#[allow(unsafe_code)]
mod truncation {
    use std::{io, ptr, sync::OnceLock};

    use super::registry;

    /// Everything that the handler needs, rendered beforehand.
    struct Report {
        status: libc::c_int,
        before: Vec<u8>,
        after: Vec<u8>,
        previous: libc::sigaction,
    }

    static REPORT: OnceLock<Report> = OnceLock::new();

    pub(super) fn install(status: u8, message: &str) -> io::Result<()> {
        let (before, after) = message.split_once("{file}").unwrap_or((message, ""));
        let (before, after) = (before.as_bytes().to_vec(), after.as_bytes().to_vec());
        // SAFETY: a `sigaction` of zeros is valid: the default action, an empty mask and no flags.
        let mut previous: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: a null action changes nothing, and `previous` is valid for writes.
        if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &mut previous) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let report = Report {
            status: status.into(),
            before,
            after,
            previous,
        };
        if REPORT.set(report).is_err() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // SAFETY: as above.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_bus_error as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler has the signature that SA_SIGINFO asks for, and calls only
        // async-signal-safe functions.
        match unsafe { libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Allocates nothing and takes no lock: reads atomics, and calls write(2), _exit(2),
    /// sigaction(2) and raise(3).
    extern "C" fn on_bus_error(
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        _context: *mut libc::c_void,
    ) {
        let Some(report) = REPORT.get() else { return };
        // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo.
        let info = unsafe { &*info };
        let is_fault = info.si_code > 0; // otherwise a process sent it, and there is no address
        // SAFETY: a SIGBUS that the kernel raised for a fault has an address.
        let file = is_fault
            .then(|| unsafe { info.si_addr() } as usize)
            .and_then(registry::file_at);
        if let Some(file) = file {
            for part in [&report.before, file, &report.after] {
                // SAFETY: the pointer and the length are those of a live slice.
                unsafe { libc::write(libc::STDERR_FILENO, part.as_ptr().cast(), part.len()) };
            }
            // SAFETY: ends the process without running anything else.
            unsafe { libc::_exit(report.status) };
        }
        // SAFETY: restores the action that the system reported when the handler was installed.
        unsafe { libc::sigaction(signal, &report.previous, ptr::null_mut()) };
        if !is_fault {
            // SAFETY: always sound; the signal is delivered when this handler returns. A fault
            // repeats by itself.
            unsafe { libc::raise(signal) };
        }
    }
}
