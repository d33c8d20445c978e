//! PyTorch's container since version 1.6: a zip of stored entries, `NAME/data.pkl` and one
//! `NAME/data/KEY` per storage.

use std::{collections::HashMap, io::Cursor, path::Path};

use zip::{CompressionMethod, ZipArchive};

use crate::{
    CheckpointError, TensorInfo,
    error::EntryFault,
    pickle::{self, PickledTensor},
    read,
};

/// The magic number of files that `torch.save` wrote before version 1.6. It follows two bytes with
/// the pickle protocol.
const LEGACY_MAGIC: &[u8] = &[0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9];

/// Limit on the pickle, in bytes. The published ones are smaller than 100 KB.
const MAX_PICKLE_BYTES: u64 = 16 << 20;

/// The location of an entry's bytes in the file.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    len: u64,
    crc32: u32,
}

/// An entry of the archive, for a check of its bytes.
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) crc32: u32,
}

/// Returns every entry, in file order.
pub(crate) fn records(bytes: &[u8], file: &Path) -> Result<Vec<Record>, CheckpointError> {
    let record = |(name, Span { start, len, crc32 })| Record {
        name,
        start,
        length: len,
        crc32,
    };
    let mut records: Vec<_> = entries(bytes, file)?.into_iter().map(record).collect();
    records.sort_by_key(|record| record.start);
    Ok(records)
}

/// Returns the tensors of a file, in the order of its state dict.
pub(crate) fn read_header(bytes: &[u8], file: &Path) -> Result<Vec<TensorInfo>, CheckpointError> {
    if bytes.first() == Some(&0x80)
        && bytes
            .get(2..)
            .is_some_and(|rest| rest.starts_with(LEGACY_MAGIC))
    {
        return Err(CheckpointError::LegacyTorch {
            file: file.to_owned(),
        });
    }
    let entries = entries(bytes, file)?;
    let entry_error = |entry: &str, found| CheckpointError::ZipEntry {
        file: file.to_owned(),
        entry: entry.to_owned(),
        found,
    };
    // The folder in the archive has the file's name at the time of saving, which may differ from
    // the current one.
    let pickle_name = entries
        .keys()
        .filter(|name| name.as_str() == "data.pkl" || name.ends_with("/data.pkl"))
        .min_by_key(|name| name.len())
        .cloned()
        .ok_or_else(|| entry_error("data.pkl", EntryFault::Missing))?;
    let folder = pickle_name.strip_suffix("data.pkl").unwrap_or_default();
    let entry_bytes = |name: &str| {
        entries
            .get(name)
            .and_then(|span| bytes.get(span.start as usize..(span.start + span.len) as usize))
    };
    if entry_bytes(&format!("{folder}byteorder")).is_some_and(|order| order != b"little") {
        return Err(entry_error("byteorder", EntryFault::BigEndian));
    }
    let pickle = entry_bytes(&pickle_name)
        .filter(|pickle| pickle.len() as u64 <= MAX_PICKLE_BYTES)
        .ok_or_else(|| entry_error(&pickle_name, EntryFault::TooLarge))?;
    let tensors = pickle::read_state_dict(pickle).map_err(|source| CheckpointError::Pickle {
        file: file.to_owned(),
        source,
    })?;
    let locate = |tensor: PickledTensor<'_>| {
        let entry = format!("{folder}data/{}", tensor.storage_key);
        let span = *entries
            .get(&entry)
            .ok_or_else(|| entry_error(&entry, EntryFault::Missing))?;
        let info = TensorInfo {
            name: tensor.name.to_owned(),
            dtype: tensor.dtype,
            storage_start: span.start,
            storage_len: span.len,
            offset: tensor.offset,
            strides: if row_major(&tensor.shape, &tensor.strides) {
                None
            } else {
                Some(tensor.strides)
            },
            shape: tensor.shape,
            file: file.to_owned(),
        };
        info.check_bounds().map(|()| info)
    };
    tensors.into_iter().map(locate).collect()
}

fn entries(bytes: &[u8], file: &Path) -> Result<HashMap<String, Span>, CheckpointError> {
    let zip_error = |source| CheckpointError::Zip {
        file: file.to_owned(),
        source,
    };
    let mut archive = match ZipArchive::new(Cursor::new(bytes)) {
        Ok(archive) => archive,
        Err(source) => {
            return Err(match read::lookalike(bytes) {
                Some(found) => CheckpointError::NotWeights {
                    file: file.to_owned(),
                    found,
                },
                None => zip_error(source),
            });
        }
    };
    let mut spans = HashMap::with_capacity(archive.len().min(1 << 16));
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(zip_error)?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let invalid = |found| CheckpointError::ZipEntry {
            file: file.to_owned(),
            entry: name.clone(),
            found,
        };
        if entry.compression() != CompressionMethod::Stored {
            return Err(invalid(EntryFault::Compressed(
                entry.compression().to_string(),
            )));
        }
        if entry.encrypted() {
            return Err(invalid(EntryFault::Encrypted));
        }
        let (start, len, crc32) = (
            entry.data_start().unwrap_or(u64::MAX),
            entry.size(),
            entry.crc32(),
        );
        if start
            .checked_add(len)
            .is_none_or(|end| end > bytes.len() as u64)
        {
            return Err(invalid(EntryFault::PastEnd));
        }
        drop(entry);
        spans.insert(name, Span { start, len, crc32 });
    }
    Ok(spans)
}

/// Returns `true` if the strides are those of a contiguous tensor. Axes of extent 1 may have any.
fn row_major(shape: &[usize], strides: &[u64]) -> bool {
    let mut expected = 1u64;
    for (&n, &stride) in shape.iter().zip(strides).rev() {
        if n != 1 && stride != expected {
            return false;
        }
        expected = expected.saturating_mul(n as u64);
    }
    true
}
