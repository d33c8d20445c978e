//! The hub's standard cache, shared with the Python tools: `blobs/HASH`, `snapshots/COMMIT/NAME` that lead there, `refs/main`.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::ModelId;

/// One model's folder in the cache.
#[derive(Debug, Clone)]
pub(crate) struct ModelCache {
    locks: PathBuf,
    folder: PathBuf,
}

/// While it lives, no other process works on the file.
#[derive(Debug)]
pub(crate) struct BlobLock {
    _file: File,
}

impl ModelCache {
    pub(crate) fn new(cache: &Path, id: &ModelId) -> Self {
        let folder = id.cache_folder();
        Self { locks: cache.join(".locks").join(&folder), folder: cache.join(folder) }
    }

    pub(crate) fn blob(&self, hash: &str) -> PathBuf {
        self.folder.join("blobs").join(hash)
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Makes the folders.
    pub(crate) fn create(&self, commit: &str) -> io::Result<()> {
        fs::create_dir_all(self.folder.join("blobs"))?;
        fs::create_dir_all(self.folder.join("refs"))?;
        fs::create_dir_all(self.snapshot(commit))?;
        fs::create_dir_all(&self.locks)
    }

    /// The lock on one file, which the Python tools take too; `waiting` is called once where another process has it.
    pub(crate) fn lock(&self, hash: &str, waiting: impl FnOnce()) -> io::Result<BlobLock> {
        let file = File::create(self.locks.join(format!("{hash}.lock")))?;
        let mut waiting = Some(waiting);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(BlobLock { _file: file }),
                Err(TryLockError::WouldBlock) => {
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                    thread::sleep(Duration::from_millis(200));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// Makes a snapshot's name lead to a whole blob: a symbolic link, else a hard one, else a copy.
    pub(crate) fn link(&self, commit: &str, name: &str, hash: &str) -> io::Result<()> {
        let (link, blob) = (self.snapshot(commit).join(name), self.blob(hash));
        if link.exists() && same_length(&link, &blob) {
            return Ok(());
        }
        let staged = self.snapshot(commit).join(format!(".{name}.{}", std::process::id()));
        let _ = fs::remove_file(&staged);
        let relative = Path::new("..").join("..").join("blobs").join(hash);
        symlink(&relative, &staged)
            .or_else(|_| fs::hard_link(&blob, &staged))
            .or_else(|_| fs::copy(&blob, &staged).map(|_| ()))?;
        fs::rename(&staged, &link)
    }

    /// Lets a name such as `main` stand for a commit.
    pub(crate) fn refer(&self, name: &str, commit: &str) -> io::Result<()> {
        let refs = self.folder.join("refs");
        let staged = refs.join(format!(".{name}.{}", std::process::id()));
        fs::write(&staged, commit)?;
        fs::rename(staged, refs.join(name))
    }
}

fn same_length(a: &Path, b: &Path) -> bool {
    matches!((fs::metadata(a), fs::metadata(b)), (Ok(a), Ok(b)) if a.len() == b.len())
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
