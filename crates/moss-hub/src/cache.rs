//! The hub's standard cache, shared with the Python tools: `blobs/HASH`, links
//! `snapshots/COMMIT/NAME` to blobs, and `refs/main`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hf_hub::{Cache, CacheRepo, Repo};
use moss_lock::FileLock;

use crate::ModelId;

/// One model's folder in the cache.
#[derive(Debug)]
pub(crate) struct ModelCache {
    locks: PathBuf,
    folder: PathBuf,
    repo: CacheRepo,
}

impl ModelCache {
    /// Returns the folder of this name, or the one under the organisation's new name if only that
    /// exists.
    pub(crate) fn new(cache: &Path, id: &ModelId) -> Self {
        let exists = |repo: &Repo| cache.join(repo.folder_name()).is_dir();
        let repo = id.repos().find(exists).unwrap_or_else(|| id.repo());
        let folder = repo.folder_name();
        Self {
            locks: cache.join(".locks").join(&folder),
            folder: cache.join(folder),
            repo: Cache::new(cache.to_owned()).repo(repo),
        }
    }

    /// Returns the folder of the model.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn blob(&self, hash: &str) -> PathBuf {
        self.folder.join("blobs").join(hash)
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.repo.pointer_path(commit)
    }

    /// Creates the folders.
    pub(crate) fn create(&self, commit: &str) -> io::Result<()> {
        fs::create_dir_all(self.folder.join("blobs"))?;
        fs::create_dir_all(self.folder.join("refs"))?;
        fs::create_dir_all(self.snapshot(commit))?;
        fs::create_dir_all(&self.locks)
    }

    /// Acquires the lock on one file, which the Python tools use too. Calls `waiting` once if
    /// another process holds it.
    pub(crate) fn lock(&self, hash: &str, waiting: impl FnOnce()) -> io::Result<FileLock> {
        FileLock::acquire(&self.lock_path(hash), waiting)
    }

    fn lock_path(&self, hash: &str) -> PathBuf {
        self.locks.join(format!("{hash}.lock"))
    }

    /// Returns `true` if no Python tool can write the file while this process holds `lock`. Without
    /// `flock`, those tools use the existence of the lock's path as the lock.
    pub(crate) fn excludes_others(&self, hash: &str, lock: &FileLock) -> bool {
        lock.is_flock() || !self.lock_path(hash).exists()
    }

    /// Returns `true` if the file system supports symbolic or hard links, by creating one. FAT,
    /// exFAT and some network shares support neither.
    pub(crate) fn has_links(&self, commit: &str) -> io::Result<bool> {
        let name = format!(".moss-links.{}", std::process::id());
        let (target, link) = (self.blob(&name), self.snapshot(commit).join(&name));
        let _ = fs::remove_file(&link);
        fs::write(&target, "")?;
        let relative = Path::new("..").join("..").join("blobs").join(&name);
        let linked = symlink(&relative, &link).or_else(|_| fs::hard_link(&target, &link));
        if linked.is_ok() {
            fs::remove_file(&link)?;
        }
        fs::remove_file(&target)?;
        Ok(linked.is_ok())
    }

    /// Returns `true` if the name in the snapshot is a link to the blob, or a file of its length.
    pub(crate) fn is_linked(&self, commit: &str, name: &str, hash: &str) -> bool {
        let (link, blob) = (self.snapshot(commit).join(name), self.blob(hash));
        match fs::symlink_metadata(&link) {
            Ok(found) if found.is_symlink() => {
                matches!((fs::canonicalize(&link), fs::canonicalize(&blob)), (Ok(link), Ok(blob)) if link == blob)
            }
            Ok(found) => {
                found.is_file() && fs::metadata(&blob).is_ok_and(|blob| blob.len() == found.len())
            }
            Err(_) => false,
        }
    }

    /// Returns the file in the snapshot if it has this length and is not a link. Without links, the
    /// Python tools move a download into the snapshot and keep no blob.
    pub(crate) fn own_file(&self, commit: &str, name: &str, bytes: u64) -> Option<PathBuf> {
        let path = self.snapshot(commit).join(name);
        let found = fs::symlink_metadata(&path).ok()?;
        (found.is_file() && found.len() == bytes).then_some(path)
    }

    /// Creates the name in the snapshot for a complete blob: a symbolic link, else a hard link, else
    /// a copy.
    pub(crate) fn link(&self, commit: &str, name: &str, hash: &str) -> io::Result<()> {
        if self.is_linked(commit, name, hash) {
            return Ok(());
        }
        let (link, blob) = (self.snapshot(commit).join(name), self.blob(hash));
        let staged = self
            .snapshot(commit)
            .join(format!(".{name}.{}", std::process::id()));
        let _ = fs::remove_file(&staged);
        let relative = Path::new("..").join("..").join("blobs").join(hash);
        let staging = symlink(&relative, &staged)
            .or_else(|_| fs::hard_link(&blob, &staged))
            .or_else(|_| fs::copy(&blob, &staged).map(|_| ()));
        let placed = staging.and_then(|()| fs::rename(&staged, &link));
        if placed.is_err() {
            let _ = fs::remove_file(&staged); // may be a partial copy of gigabytes
        }
        placed
    }

    /// Sets a reference such as `main` to a commit.
    pub(crate) fn refer(&self, name: &str, commit: &str) -> io::Result<()> {
        let refs = self.folder.join("refs");
        let staged = refs.join(format!(".{name}.{}", std::process::id()));
        fs::write(&staged, commit)?;
        fs::rename(staged, refs.join(name))
    }
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
