//! Hashes that a hub lists, and those of files.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    path::Path,
};

use sha2::Digest as _;

/// What a whole file must hash to, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    /// Of the bytes: large files, and every file on ModelScope.
    Sha256(String),
    /// Git's name for the bytes, a SHA-1 over their length and themselves: small files on the first
    /// hub.
    GitBlob(String),
}

impl Digest {
    /// The hash, which is also the file's name in the cache.
    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::GitBlob(hex) => hex,
        }
    }

    /// `hex` as one of the two, by its length.
    pub(crate) fn parse(hex: &str) -> Option<Self> {
        let hex = hex.to_ascii_lowercase();
        match hex.len() {
            _ if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => None,
            64 => Some(Self::Sha256(hex)),
            40 => Some(Self::GitBlob(hex)),
            _ => None,
        }
    }

    /// The hash of the same kind that a file of `size` bytes has.
    pub(crate) fn of_file(&self, path: &Path, size: u64) -> io::Result<String> {
        match self {
            Self::Sha256(_) => hash(path, sha2::Sha256::new()),
            Self::GitBlob(_) => hash(path, sha1::Sha1::new_with_prefix(format!("blob {size}\0"))),
        }
    }
}

/// The SHA-256 of a text, in hexadecimal.
pub(crate) fn of_text(text: &str) -> String {
    hex(&sha2::Sha256::digest(text))
}

fn hash<H: sha2::Digest>(path: &Path, mut hasher: H) -> io::Result<String> {
    expect_file(&fs::metadata(path)?)?; // opening a named pipe would wait for a writer
    let mut file = File::open(path)?;
    expect_file(&file.metadata()?)?; // the path may name another file by now
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn expect_file(found: &Metadata) -> io::Result<()> {
    if found.is_file() {
        return Ok(());
    }
    let error = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
    Err(error)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
