//! The format of a file.
//!
//! ```text
//! bytes  content, numbers in little-endian order
//! 8      MAGIC
//! 4      VERSION
//! 4      length of the description
//! 4      length of the model's name
//! 4      token ids
//! 4      positions of a block
//! 8      bytes of a block
//! ...    description, model's name (UTF-8); token ids, 4 bytes each
//! 4      CRC-32 of everything before it
//! ...    blocks of full positions: the bytes of each, then their CRC-32
//! ```

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::FileFault;

const MAGIC: [u8; 8] = *b"MOSSKV\r\n";
const VERSION: u32 = 1;
/// Bytes before the description.
const FIXED: usize = 36;
/// Bytes of a checksum.
pub(crate) const CHECKSUM: usize = 4;

/// The longest description, in bytes.
const MAX_DESCRIPTION: usize = 16 << 10;
/// The longest name of a model, in bytes.
const MAX_MODEL: usize = 1 << 10;
/// The most token ids; more than any context length.
const MAX_IDS: usize = 1 << 20;
/// The most bytes of a block.
const MAX_BLOCK: u64 = 1 << 32;

/// The first tokens of a prompt, and what determines their cache blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The name of the model, for lists.
    pub model: String,
    /// Everything that determines the bits of a block, except the token ids: checkpoint, code,
    /// data types. Two files with different descriptions are never mixed.
    pub description: String,
    /// The token ids. Only full blocks are stored.
    pub ids: Vec<u32>,
    /// Positions of a block; at least 1.
    pub block_size: usize,
    /// Bytes of a block; at least 1.
    pub block_bytes: usize,
}

impl Prefix {
    /// Returns the number of full blocks.
    pub fn blocks(&self) -> usize {
        self.ids.len() / self.block_size.max(1)
    }

    /// Returns the start of the file's name: a digest of the description and the token ids. It
    /// finds the file; whether it is the right one, [`Prefix::check`] decides.
    pub(crate) fn stem(&self) -> String {
        let mut digest = Sha256::new();
        digest.update((self.description.len() as u64).to_le_bytes());
        digest.update(&self.description);
        for id in &self.ids {
            digest.update(id.to_le_bytes());
        }
        let bytes = digest.finalize();
        bytes[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Returns the length of the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        let header = FIXED + self.description.len() + self.model.len() + 4 * self.ids.len();
        let block = self.block_bytes as u64 + CHECKSUM as u64;
        (header + CHECKSUM) as u64 + block.saturating_mul(self.blocks() as u64)
    }

    /// Returns the bytes before the first block; `None` if a length exceeds its limit.
    pub(crate) fn header(&self) -> Option<Vec<u8>> {
        let fits = self.description.len() <= MAX_DESCRIPTION
            && self.model.len() <= MAX_MODEL
            && self.ids.len() <= MAX_IDS
            && (1..=MAX_IDS).contains(&self.block_size)
            && (1..=MAX_BLOCK).contains(&(self.block_bytes as u64));
        let mut bytes = MAGIC.to_vec();
        let lengths = [
            VERSION as usize,
            self.description.len(),
            self.model.len(),
            self.ids.len(),
            self.block_size,
        ];
        for length in lengths {
            bytes.extend(u32::try_from(length).ok()?.to_le_bytes());
        }
        bytes.extend((self.block_bytes as u64).to_le_bytes());
        bytes.extend(self.description.as_bytes());
        bytes.extend(self.model.as_bytes());
        bytes.extend(self.ids.iter().flat_map(|id| id.to_le_bytes()));
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        fits.then_some(bytes)
    }
}

impl Prefix {
    /// Reads the prefix of a file of `file_bytes` from its header, and checks the header.
    ///
    /// Lengths are checked against their limits and the length of the file before anything is
    /// allocated for them.
    pub(crate) fn read(
        file: &mut impl Read,
        file_bytes: u64,
    ) -> io::Result<Result<Self, FileFault>> {
        let mut fixed = [0; FIXED];
        if file_bytes < FIXED as u64 {
            return Ok(Err(FileFault::NotAPromptCache));
        }
        file.read_exact(&mut fixed)?;
        let lengths = match Lengths::parse(&fixed) {
            Ok(lengths) if lengths.file_bytes() == Some(file_bytes) => lengths,
            Ok(_) => return Ok(Err(FileFault::Size)),
            Err(damage) => return Ok(Err(damage)),
        };
        let mut texts = vec![0; lengths.after_fixed()];
        file.read_exact(&mut texts)?;
        let (content, checksum) = texts.split_at(texts.len() - CHECKSUM);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&fixed);
        hasher.update(content);
        if hasher.finalize().to_le_bytes() != *checksum {
            return Ok(Err(FileFault::HeaderChecksum));
        }
        Ok(lengths.prefix(content).ok_or(FileFault::NotText))
    }

    /// Returns an error unless this prefix, of a file, has the blocks of `wanted`.
    pub(crate) fn check(&self, wanted: &Self) -> Result<(), FileFault> {
        // The name is for lists only.
        let Self {
            model: _,
            description,
            ids,
            block_size,
            block_bytes,
        } = self;
        let is_wanted = *description == wanted.description
            && *ids == wanted.ids
            && *block_size == wanted.block_size
            && *block_bytes == wanted.block_bytes;
        is_wanted.then_some(()).ok_or(FileFault::OtherPrefix)
    }
}

/// The lengths at the start of a file, within their limits.
struct Lengths {
    description: usize,
    model: usize,
    ids: usize,
    block_size: usize,
    block_bytes: usize,
}

impl Lengths {
    fn parse(fixed: &[u8; FIXED]) -> Result<Self, FileFault> {
        let (magic, numbers) = fixed.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(FileFault::NotAPromptCache);
        }
        let (numbers, block_bytes) = numbers.split_at(20);
        let numbers: Vec<u32> = numbers
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| u32::from_le_bytes(*bytes))
            .collect();
        let &[version, description, model, ids, block_size] = &*numbers else {
            return Err(FileFault::NotAPromptCache);
        };
        if version != VERSION {
            return Err(FileFault::Version(version));
        }
        let within = |length: u64, least: u64, most: u64| {
            let length = Some(length).filter(|length| (least..=most).contains(length));
            length.and_then(|length| usize::try_from(length).ok())
        };
        let block_bytes = block_bytes
            .as_chunks()
            .0
            .first()
            .copied()
            .map(u64::from_le_bytes);
        let parsed = || {
            Some(Self {
                description: within(description.into(), 0, MAX_DESCRIPTION as u64)?,
                model: within(model.into(), 0, MAX_MODEL as u64)?,
                ids: within(ids.into(), 0, MAX_IDS as u64)?,
                block_size: within(block_size.into(), 1, MAX_IDS as u64)?,
                block_bytes: within(block_bytes?, 1, MAX_BLOCK)?,
            })
        };
        parsed().ok_or(FileFault::Length)
    }

    /// Returns the bytes of the rest of the header.
    fn after_fixed(&self) -> usize {
        self.description + self.model + 4 * self.ids + CHECKSUM
    }

    fn file_bytes(&self) -> Option<u64> {
        let block = self.block_bytes as u64 + CHECKSUM as u64;
        let blocks = block.checked_mul((self.ids / self.block_size) as u64)?;
        blocks.checked_add((FIXED + self.after_fixed()) as u64)
    }

    /// Returns the prefix; `None` if a text is not UTF-8.
    fn prefix(&self, content: &[u8]) -> Option<Prefix> {
        let (description, rest) = content.split_at(self.description);
        let (model, ids) = rest.split_at(self.model);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let ids = ids.as_chunks().0.iter();
        Some(Prefix {
            description: text(description)?,
            model: text(model)?,
            ids: ids.map(|bytes| u32::from_le_bytes(*bytes)).collect(),
            block_size: self.block_size,
            block_bytes: self.block_bytes,
        })
    }
}
