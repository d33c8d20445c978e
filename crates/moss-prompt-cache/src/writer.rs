//! Writes a file: under another name first, and renamed when it is complete.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use moss_lock::FileLock;

use crate::{Prefix, PromptCacheError};

/// A file that is being written. Dropping it before [`BlockWriter::finish`] removes it.
///
/// The data is not flushed to the disk: after a crash of the machine, the checksums show what is
/// missing.
#[derive(Debug)]
pub struct BlockWriter {
    file: File,
    /// The name until the file is complete.
    staging: PathBuf,
    target: PathBuf,
    block_bytes: usize,
    blocks: usize,
    written: usize,
    is_finished: bool,
    /// Only one process writes to the folder.
    _lock: FileLock,
}

impl BlockWriter {
    /// Creates the file `target`, as `staging` for now, with the header of `prefix`.
    pub(crate) fn create(
        target: PathBuf,
        staging: PathBuf,
        header: &[u8],
        prefix: &Prefix,
        lock: FileLock,
    ) -> Result<Self, PromptCacheError> {
        let file = create(&staging).map_err(|source| failed(&staging, source))?;
        let mut writer = Self {
            file,
            staging,
            target,
            block_bytes: prefix.block_bytes,
            blocks: prefix.blocks(),
            written: 0,
            is_finished: false,
            _lock: lock,
        };
        writer.write(header)?;
        Ok(writer)
    }

    /// Appends the next block.
    ///
    /// # Errors
    /// [`PromptCacheError::BlockSize`], [`PromptCacheError::BlockCount`],
    /// [`PromptCacheError::Write`].
    pub fn add_block(&mut self, bytes: &[u8]) -> Result<(), PromptCacheError> {
        let (found, expected) = (bytes.len(), self.block_bytes);
        if found != expected {
            return Err(PromptCacheError::BlockSize { found, expected });
        }
        if self.written == self.blocks {
            return Err(self.wrong_count(self.written + 1));
        }
        self.write(bytes)?;
        self.write(&crc32fast::hash(bytes).to_le_bytes())?;
        self.written += 1;
        Ok(())
    }

    /// Gives the complete file its name.
    ///
    /// # Errors
    /// [`PromptCacheError::BlockCount`] if blocks are missing; [`PromptCacheError::Write`].
    pub fn finish(mut self) -> Result<(), PromptCacheError> {
        if self.written != self.blocks {
            return Err(self.wrong_count(self.written));
        }
        let renamed = fs::rename(&self.staging, &self.target);
        renamed.map_err(|source| failed(&self.target, source))?;
        self.is_finished = true;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PromptCacheError> {
        let written = self.file.write_all(bytes);
        written.map_err(|source| failed(&self.staging, source))
    }

    fn wrong_count(&self, found: usize) -> PromptCacheError {
        PromptCacheError::BlockCount {
            found,
            expected: self.blocks,
        }
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = fs::remove_file(&self.staging); // the next writer removes it otherwise
        }
    }
}

/// Creates a file that only its user may read: it has a part of a prompt.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn failed(path: &Path, source: io::Error) -> PromptCacheError {
    PromptCacheError::Write {
        path: path.to_owned(),
        source,
    }
}
