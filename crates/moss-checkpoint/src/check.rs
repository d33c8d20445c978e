//! Checks of whole weight files for damage.

use std::{collections::BTreeMap, path::Path};

use crate::{
    CheckpointError, TensorInfo, Warning, WeightStorage,
    header::read_header,
    map::{MappedFile, PIECE},
    torch_zip::{self, Record},
    weight_files,
};

/// Tensor names that an error lists.
const LISTED: usize = 3;

/// The result of [`check_files`].
#[derive(Debug, Default)]
pub struct FileCheck {
    /// Damage: files that cannot be read, and records whose bytes do not match their checksum.
    pub damage: Vec<CheckpointError>,
    /// Files that could not be checked.
    pub warnings: Vec<Warning>,
}

/// Checks the weight files of a folder without opening it as a checkpoint, so that damage is
/// reported for the file and the record that have it. Checks header and extents of every file, and
/// the CRC-32 of every record in PyTorch files. safetensors files have no checksums.
///
/// `progress` receives the bytes read so far and the total.
///
/// # Errors
/// A [`CheckpointError`] for a folder whose weight files cannot be found.
pub fn check_files(
    folder: impl AsRef<Path>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<FileCheck, CheckpointError> {
    let shards = weight_files::find(folder.as_ref())?.shards;
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |data| data.len());
    let total = shards.iter().map(|path| length(path)).sum();
    let (mut check, mut done) = (FileCheck::default(), 0);
    for path in &shards {
        let checked = MappedFile::open(path, WeightStorage::Mapped).and_then(|file| {
            check_file(&file, &mut check, &mut |bytes| {
                progress(done + bytes, total)
            })
        });
        check.damage.extend(checked.err());
        done += length(path);
        progress(done, total);
    }
    Ok(check)
}

fn check_file(
    file: &MappedFile,
    check: &mut FileCheck,
    progress: &mut dyn FnMut(u64),
) -> Result<(), CheckpointError> {
    let header = read_header(file);
    if file.is_safetensors() {
        return header.map(drop);
    }
    let records = torch_zip::records(file.bytes(), file.path())?;
    let found = checksums(file, &records, progress)?;
    // `torch.save` can be configured to compute no checksums; it writes zeros then.
    if records.iter().all(|record| record.crc32 == 0) && found.iter().any(|found| *found != 0) {
        check.warnings.push(Warning::NoChecksums {
            file: file.path().to_owned(),
        });
        return header.map(drop);
    }
    let mut tensors = tensors_by_storage(header.iter().flatten());
    let mut is_damaged = false;
    for (record, found) in records.iter().zip(found) {
        if record.crc32 == found {
            continue;
        }
        is_damaged = true;
        let names = tensors.remove(&record.start).unwrap_or_default();
        check.damage.push(CheckpointError::Checksum {
            file: file.path().to_owned(),
            record: record.name.clone(),
            tensors: names.into_iter().take(LISTED).collect(),
            found,
            expected: record.crc32,
        });
    }
    // A damaged record explains why the header cannot be read.
    if is_damaged { Ok(()) } else { header.map(drop) }
}

/// Returns the names of the tensors in each storage, by its offset in the file.
fn tensors_by_storage<'a>(
    infos: impl Iterator<Item = &'a TensorInfo>,
) -> BTreeMap<u64, Vec<String>> {
    let mut tensors: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for info in infos {
        let names = tensors.entry(info.storage_start).or_default();
        names.push(info.name.clone());
    }
    tensors
}

/// Reads every record and returns their CRC-32.
fn checksums(
    file: &MappedFile,
    records: &[Record],
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<u32>, CheckpointError> {
    let mut found = Vec::with_capacity(records.len());
    let mut buffer = Vec::new();
    let mut done = 0;
    for record in records {
        let mut hasher = crc32fast::Hasher::new();
        let bytes = file
            .bytes()
            .slice(record.start as usize..(record.start + record.length) as usize);
        for piece in bytes.chunks(PIECE) {
            buffer.resize(piece.len(), 0);
            if let Some(read) = file.read(piece, &mut buffer) {
                read.map_err(|source| CheckpointError::Read {
                    file: file.path().to_owned(),
                    source,
                })?;
            }
            hasher.update(&buffer);
            done += piece.len() as u64;
            progress(done);
        }
        found.push(hasher.finalize());
    }
    Ok(found)
}
