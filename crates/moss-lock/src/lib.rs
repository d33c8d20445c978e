//! Exclusive locks between processes: `flock`, or a lock file on file systems without it.
//!
//! Some network and FUSE file systems reject `flock` (`ENOLCK`, `ENOSYS`, `EOPNOTSUPP`, `EINVAL`).
//! There the lock is a file next to the locked path, created with `O_EXCL`. It names its holder and
//! is rewritten every few seconds (a heartbeat). A lock file is stale if its process no longer
//! exists on this machine, or after a minute without a heartbeat. Clocks of different machines are
//! never compared.

mod holder;
mod identity;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use holder::{Attempt, HolderFile, Timing};

/// Pause between two attempts to take a lock that another process holds.
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// An exclusive lock, released when it is dropped.
#[derive(Debug)]
pub struct FileLock {
    /// Open while the lock is held by `flock`.
    flock: Option<File>,
    holder: Option<HolderFile>,
}

/// Result of one attempt.
enum Outcome {
    Acquired(FileLock),
    /// Another process holds the lock.
    Held,
    /// A lock file exists, and only waiting for a heartbeat shows whether its holder is alive.
    Undecided,
}

/// Returns the path of the lock file that replaces `flock` on `path`.
pub fn holder_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".holder");
    PathBuf::from(name)
}

impl FileLock {
    /// Takes the lock, or returns `None` if another process holds it.
    ///
    /// Returns immediately if `flock` works, or if the state of a lock file's process is known.
    /// Otherwise waits up to a minute for the holder's heartbeat.
    ///
    /// # Errors
    /// Any error of creating the files. An error of `flock` itself selects the lock file.
    pub fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        let mut attempt = Attempt::new(holder_path(path), Timing::default());
        loop {
            match once(path, &mut attempt)? {
                Outcome::Acquired(lock) => return Ok(Some(lock)),
                Outcome::Held => return Ok(None),
                Outcome::Undecided => thread::sleep(RETRY_EVERY),
            }
        }
    }

    /// Waits for the lock; calls `waiting` once if another process holds it.
    ///
    /// # Errors
    /// As for [`FileLock::try_acquire`].
    pub fn acquire(path: &Path, waiting: impl FnOnce()) -> io::Result<Self> {
        let (mut attempt, mut waiting) = (
            Attempt::new(holder_path(path), Timing::default()),
            Some(waiting),
        );
        loop {
            if let Outcome::Acquired(lock) = once(path, &mut attempt)? {
                return Ok(lock);
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            thread::sleep(RETRY_EVERY);
        }
    }

    /// Returns `true` if `flock` holds the lock, so that other programs' `flock` on the same path
    /// excludes them.
    pub fn is_flock(&self) -> bool {
        self.flock.is_some()
    }
}

fn once(path: &Path, attempt: &mut Attempt) -> io::Result<Outcome> {
    let (file, created) = open(path)?;
    let flock = match file.try_lock() {
        Ok(()) => Some(file),
        Err(TryLockError::WouldBlock) => return Ok(Outcome::Held),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {
            return Ok(Outcome::Undecided);
        }
        Err(TryLockError::Error(_)) => {
            drop(file);
            // Other tools use the existence of this file as the lock: remove it.
            if created {
                let _ = fs::remove_file(path);
            }
            None
        }
    };
    // With `flock`, a lock file is that of a machine that mounts the same folder without it.
    if flock.is_some() && !attempt.path().exists() {
        return Ok(Outcome::Acquired(FileLock {
            flock,
            holder: None,
        }));
    }
    Ok(match attempt.try_create()? {
        holder::Created::Yes(holder) => Outcome::Acquired(FileLock {
            flock,
            holder: Some(holder),
        }),
        holder::Created::Alive => Outcome::Held,
        holder::Created::Unknown => Outcome::Undecided,
    })
}

/// Opens the file without truncating it: another program may have written its holder there.
fn open(path: &Path) -> io::Result<(File, bool)> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok((
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?,
            false,
        )),
        Err(error) => Err(error),
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        self.holder = None; // the lock file is removed before `flock` is released
    }
}
