//! Reading whole weight files to find damage.

use std::{collections::BTreeMap, path::Path};

use crate::{
    CheckpointError, Warning, WeightStorage, checkpoint::read_header, files, map::MappedFile,
    torch_zip, write::PIECE,
};

/// Tensor names that an error lists.
const LISTED: usize = 3;

/// What [`check_files`] found.
#[derive(Debug, Default)]
pub struct FileCheck {
    /// Damage: files that cannot be read, and records whose bytes do not match their checksum.
    pub damage: Vec<CheckpointError>,
    /// Files that could not be checked.
    pub warnings: Vec<Warning>,
}

/// Checks the weight files of a folder without opening it as a checkpoint, so that damage is found
/// where it is: headers and extents of every file, and the CRC-32 of every record in PyTorch files.
/// safetensors files carry no checksums.
///
/// `progress` receives the bytes read so far and the total.
///
/// # Errors
/// A [`CheckpointError`] for a folder whose weight files cannot be found.
pub fn check_files(
    folder: impl AsRef<Path>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<FileCheck, CheckpointError> {
    let shards = files::find(folder.as_ref())?.shards;
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
    if file
        .path()
        .extension()
        .is_some_and(|extension| extension == "safetensors")
    {
        return header.map(|_| ());
    }
    let mut tensors: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for info in header.iter().flatten() {
        tensors
            .entry(info.storage_start)
            .or_default()
            .push(info.name.clone());
    }
    let records = torch_zip::records(file.bytes(), file.path())?;
    let mut found = Vec::with_capacity(records.len());
    let mut buffer = Vec::new();
    let mut done = 0;
    for record in &records {
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
    // `torch.save` can be configured to compute no checksums; it writes zeros then.
    if records.iter().all(|record| record.crc32 == 0) && found.iter().any(|found| *found != 0) {
        check.warnings.push(Warning::NoChecksums {
            file: file.path().to_owned(),
        });
        return header.map(|_| ());
    }
    let damaged = check.damage.len();
    for (record, found) in records
        .iter()
        .zip(found)
        .filter(|(record, found)| record.crc32 != *found)
    {
        let names = tensors.remove(&record.start).unwrap_or_default();
        check.damage.push(CheckpointError::Checksum {
            file: file.path().to_owned(),
            record: record.name.clone(),
            tensors: names.into_iter().take(LISTED).collect(),
            found,
            expected: record.crc32,
        });
    }
    // A header that cannot be read is explained by the record that is damaged.
    if check.damage.len() == damaged {
        header.map(|_| ())
    } else {
        Ok(())
    }
}
