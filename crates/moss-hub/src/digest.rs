//! Hashes of files.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use moss_files::expect_regular;
use sha2::Digest as _;

/// The hash of a file in a hub's listing, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256 of the bytes: large files, and every file on ModelScope.
    Sha256(String),
    /// Git's blob id, a SHA-1 over the length and the bytes: small files on huggingface.co.
    GitBlob(String),
}

impl Digest {
    /// Returns the hash, which is also the file's name in the cache.
    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::GitBlob(hex) => hex,
        }
    }

    /// Parses a hash; its length determines the kind.
    pub(crate) fn parse(hex: &str) -> Option<Self> {
        let hex = hex.to_ascii_lowercase();
        match hex.len() {
            _ if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => None,
            64 => Some(Self::Sha256(hex)),
            40 => Some(Self::GitBlob(hex)),
            _ => None,
        }
    }

    /// Computes the hash of the same kind of a file of `size` bytes.
    pub(crate) fn of_file(&self, path: &Path, size: u64) -> io::Result<String> {
        match self {
            Self::Sha256(_) => hash(path, sha2::Sha256::new()),
            Self::GitBlob(_) => hash(path, sha1::Sha1::new_with_prefix(format!("blob {size}\0"))),
        }
    }
}

/// Returns the SHA-256 of a text, in hexadecimal.
pub(crate) fn of_text(text: &str) -> String {
    hex(&sha2::Sha256::digest(text))
}

fn hash<H: sha2::Digest>(path: &Path, mut hasher: H) -> io::Result<String> {
    expect_regular(&fs::metadata(path)?)?; // opening a named pipe would wait for a writer
    let mut file = File::open(path)?;
    expect_regular(&file.metadata()?)?; // another file may have replaced it meanwhile
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
