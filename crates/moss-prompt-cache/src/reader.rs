//! Reads the blocks of a file.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{FileFault, Prefix, PromptCacheError, file::CHECKSUM};

/// The blocks of a file whose header was checked.
#[derive(Debug)]
pub struct BlockReader {
    path: PathBuf,
    file: File,
    block_bytes: usize,
    blocks: usize,
    read: usize,
}

impl BlockReader {
    /// Opens the file of a prefix; `None` if it does not exist.
    pub(crate) fn open(path: &Path, wanted: &Prefix) -> Result<Option<Self>, PromptCacheError> {
        let Some((file, found)) = open(path)? else {
            return Ok(None);
        };
        let checked = found.check(wanted);
        checked.map_err(|reason| damaged(path, reason))?;
        // The files that were read last are kept longest. The cache works without this.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(Self {
            path: path.to_owned(),
            file,
            block_bytes: wanted.block_bytes,
            blocks: wanted.blocks(),
            read: 0,
        }))
    }

    /// Returns the number of blocks.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Reads the next block and compares it with its checksum; `None` after the last.
    ///
    /// # Errors
    /// [`PromptCacheError::Read`]; [`PromptCacheError::Damaged`].
    pub fn next_block(&mut self) -> Result<Option<Vec<u8>>, PromptCacheError> {
        if self.read == self.blocks {
            return Ok(None);
        }
        // The caller's model has blocks of this size, and the file is long enough for them.
        let mut bytes = vec![0; self.block_bytes];
        let block = read_block(&mut self.file, &mut bytes);
        let is_whole = block.map_err(|source| PromptCacheError::Read {
            path: self.path.clone(),
            source,
        })?;
        if !is_whole {
            return Err(damaged(&self.path, FileFault::BlockChecksum(self.read)));
        }
        self.read += 1;
        Ok(Some(bytes))
    }
}

/// Reads a block and its checksum; returns true if they match.
fn read_block(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    let mut checksum = [0; CHECKSUM];
    file.read_exact(bytes)?;
    file.read_exact(&mut checksum)?;
    Ok(crc32fast::hash(bytes).to_le_bytes() == checksum)
}

/// Returns the prefix of a file.
pub(crate) fn prefix(path: &Path) -> Result<Prefix, PromptCacheError> {
    let missing = || PromptCacheError::Read {
        path: path.to_owned(),
        source: io::ErrorKind::NotFound.into(),
    };
    Ok(open(path)?.ok_or_else(missing)?.1)
}

/// Opens a file and reads its header; `None` if it does not exist.
fn open(path: &Path) -> Result<Option<(File, Prefix)>, PromptCacheError> {
    let failed = |source| PromptCacheError::Read {
        path: path.to_owned(),
        source,
    };
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // To open a named pipe would wait for its writer.
    if !found.is_file() {
        return Err(damaged(path, FileFault::NotAPromptCache));
    }
    let mut file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let prefix = Prefix::read(&mut file, bytes).map_err(failed)?;
    let prefix = prefix.map_err(|reason| damaged(path, reason))?;
    Ok(Some((file, prefix)))
}

/// Reads a whole file from memory, for the fuzz target.
pub(crate) fn read_all(mut bytes: &[u8]) {
    let file_bytes = bytes.len() as u64;
    let Ok(Ok(prefix)) = Prefix::read(&mut bytes, file_bytes) else {
        return;
    };
    // A header that is accepted is that of a file with these lengths.
    assert_eq!(prefix.file_bytes(), file_bytes);
    for _ in 0..prefix.blocks() {
        let mut block = vec![0; prefix.block_bytes];
        assert!(read_block(&mut bytes, &mut block).is_ok());
    }
    assert!(bytes.is_empty());
}

fn damaged(path: &Path, reason: FileFault) -> PromptCacheError {
    PromptCacheError::Damaged {
        path: path.to_owned(),
        reason,
    }
}
