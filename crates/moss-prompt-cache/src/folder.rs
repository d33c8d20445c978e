//! The folder: files by prefix, their total size, and lists of them.

use std::{
    fs::{self, DirBuilder},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use moss_lock::FileLock;

use crate::{BlockReader, BlockWriter, Prefix, PromptCacheError, reader};

/// The ending of complete files.
const ENDING: &str = "moss-kv";
/// The ending of files that are being written.
const STAGING: &str = "moss-kv-unfinished";
const LOCK: &str = "lock";

/// A folder with the cache blocks of prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptCache {
    folder: PathBuf,
    max_bytes: u64,
}

/// A file of the folder.
#[derive(Debug)]
pub struct Entry {
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// The time of its last use.
    pub used: SystemTime,
    /// Its prefix according to its header, or the fault of the file.
    pub prefix: Result<Prefix, PromptCacheError>,
}

impl PromptCache {
    /// The default limit of the files' total size: instructions of a few hundred tokens, with f32
    /// values of the published model, have about 0.5 GB each.
    pub const MAX_BYTES: u64 = 4 << 30;

    /// Returns the cache in `folder`, which is created when a file is written. The total size of
    /// its files stays below `max_bytes`: the least recently used ones are removed.
    pub fn new(folder: PathBuf, max_bytes: u64) -> Self {
        Self { folder, max_bytes }
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens the file of a prefix; `None` if there is none.
    ///
    /// # Errors
    /// [`PromptCacheError::Damaged`], also for a file of another prefix;
    /// [`PromptCacheError::Read`].
    pub fn open(&self, prefix: &Prefix) -> Result<Option<BlockReader>, PromptCacheError> {
        BlockReader::open(&self.path(prefix), prefix)
    }

    /// Starts a file for the blocks of a prefix, which replaces an existing one when it is complete,
    /// and removes other files if the total size would exceed its limit. Returns `None` if another
    /// process writes to the folder, or if the file would be too large or empty.
    ///
    /// # Errors
    /// [`PromptCacheError::Read`], [`PromptCacheError::Write`].
    pub fn create(&self, prefix: &Prefix) -> Result<Option<BlockWriter>, PromptCacheError> {
        let Some(header) = prefix.header().filter(|_| prefix.blocks() > 0) else {
            return Ok(None);
        };
        let bytes = prefix.file_bytes();
        if bytes > self.max_bytes {
            tracing::info!(
                bytes,
                limit = self.max_bytes,
                "too large for the prompt cache"
            );
            return Ok(None);
        }
        self.create_folder()?;
        let Some(lock) = self.lock()? else {
            return Ok(None);
        };
        self.remove_staged()?;
        let target = self.path(prefix);
        self.make_room(bytes, &target)?;
        let staging = target.with_extension(STAGING);
        BlockWriter::create(target, staging, &header, prefix, lock).map(Some)
    }

    /// Returns the files, the last used first; none if the folder does not exist.
    ///
    /// # Errors
    /// [`PromptCacheError::Read`] for the folder.
    pub fn list(&self) -> Result<Vec<Entry>, PromptCacheError> {
        let entry = |(path, bytes, used): Found| Entry {
            prefix: reader::prefix(&path),
            path,
            bytes,
            used,
        };
        Ok(self.find(ENDING)?.into_iter().map(entry).rev().collect())
    }

    /// Removes all files, also those that killed processes left unfinished, and returns their
    /// number and total size. Other files of the folder stay, and so does a file that is being
    /// written.
    ///
    /// # Errors
    /// [`PromptCacheError::Read`], [`PromptCacheError::Write`].
    pub fn clear(&self) -> Result<(usize, u64), PromptCacheError> {
        let mut found = self.find(ENDING)?;
        for (path, ..) in &found {
            remove(path)?;
        }
        // A folder without unfinished files needs no lock, which would create a file.
        if !self.find(STAGING)?.is_empty()
            && let Some(_lock) = self.lock()?
        {
            found.extend(self.remove_staged()?);
        }
        Ok((found.len(), found.iter().map(|(_, bytes, _)| bytes).sum()))
    }

    fn path(&self, prefix: &Prefix) -> PathBuf {
        self.folder.join(prefix.stem()).with_extension(ENDING)
    }

    /// Creates the folder, for its user alone.
    fn create_folder(&self) -> Result<(), PromptCacheError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let created = builder.create(&self.folder);
        created.map_err(|source| PromptCacheError::Write {
            path: self.folder.clone(),
            source,
        })
    }

    /// Returns the lock of writers; `None` if another process has it.
    fn lock(&self) -> Result<Option<FileLock>, PromptCacheError> {
        let path = self.folder.join(LOCK);
        let acquired = FileLock::try_acquire(&path);
        acquired.map_err(|source| PromptCacheError::Write { path, source })
    }

    /// Removes what killed processes left, and returns it. The caller has the lock, so no other
    /// process writes.
    fn remove_staged(&self) -> Result<Vec<Found>, PromptCacheError> {
        let staged = self.find(STAGING)?;
        staged.iter().try_for_each(|(path, ..)| remove(path))?;
        Ok(staged)
    }

    /// Removes the least recently used files, so that there is room for `bytes`. The file `target`
    /// is replaced, so it does not count.
    fn make_room(&self, bytes: u64, target: &Path) -> Result<(), PromptCacheError> {
        let mut found = self.find(ENDING)?;
        found.retain(|(path, ..)| path != target);
        let mut total: u64 = found.iter().map(|(_, bytes, _)| bytes).sum();
        for (path, length, _) in found {
            if total.saturating_add(bytes) <= self.max_bytes {
                break;
            }
            remove(&path)?;
            total -= length;
        }
        Ok(())
    }

    /// Returns the regular files with an ending, the least recently used first.
    fn find(&self, ending: &str) -> Result<Vec<Found>, PromptCacheError> {
        let failed = |source| PromptCacheError::Read {
            path: self.folder.clone(),
            source,
        };
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let is_one = path.extension().is_some_and(|found| found == ending);
            // Another process may remove a file meanwhile. Links are not followed.
            if let (true, Ok(data)) = (is_one, entry.metadata())
                && data.is_file()
            {
                let used = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push((path, data.len(), used));
            }
        }
        found.sort_by(|a, b| (a.2, &a.0).cmp(&(b.2, &b.0)));
        Ok(found)
    }
}

/// Path, length and last use of a file.
type Found = (PathBuf, u64, SystemTime);

/// Removes a file, which another process may have done already.
fn remove(path: &Path) -> Result<(), PromptCacheError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PromptCacheError::Write {
            path: path.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}
