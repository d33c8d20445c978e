//! A partial file: its bytes at their final offsets, and a journal of the ranges that are on disk.
//!
//! A range is written before its record of sixteen bytes. If the process is killed, the journal
//! therefore lists at most the ranges that are on disk. The hash of the complete file checks the
//! bytes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

const RECORD: usize = 16;

/// A partial file and its journal.
#[derive(Debug)]
pub(crate) struct PartialFile {
    data: PathBuf,
    journal: PathBuf,
    records: Mutex<File>,
    size: u64,
    done: Vec<Range<u64>>,
}

impl PartialFile {
    /// Opens the partial file of `whole`, or creates it.
    pub(crate) fn open(whole: &Path, size: u64) -> io::Result<Self> {
        let (data, journal) = paths(whole);
        if length(&data) != Some(size) {
            remove(&journal)?; // it describes another file
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .open(&data)?
                .set_len(size)?;
        }
        let done = recorded(&journal, size);
        let mut records = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&journal)?;
        let torn = records.metadata()?.len() % RECORD as u64;
        if torn != 0 {
            records.set_len(records.metadata()?.len() - torn)?;
            records.seek(SeekFrom::End(0))?;
        }
        Ok(Self {
            data,
            journal,
            records: Mutex::new(records),
            size,
            done,
        })
    }

    /// Returns the missing ranges, none longer than `piece`, in order.
    pub(crate) fn missing(&self, piece: u64) -> Vec<Range<u64>> {
        let ends = self.done.iter().map(|done| done.end);
        let starts = self.done.iter().map(|done| done.start).chain([self.size]);
        let gaps = std::iter::once(0)
            .chain(ends)
            .zip(starts)
            .filter(|(start, end)| start < end);
        let pieces = |(start, end): (u64, u64)| {
            (start..end)
                .step_by(piece.max(1) as usize)
                .map(move |from| from..end.min(from + piece.max(1)))
        };
        gaps.flat_map(pieces).collect()
    }

    /// Returns a writer for one connection.
    pub(crate) fn writer(&self) -> io::Result<PartialWriter<'_>> {
        Ok(PartialWriter {
            part: self,
            file: OpenOptions::new().write(true).open(&self.data)?,
        })
    }

    /// Returns the path of the bytes.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Renames the complete file.
    pub(crate) fn finish(self, whole: &Path) -> io::Result<()> {
        moss_files::sync(&File::open(&self.data)?)?;
        fs::rename(&self.data, whole)?;
        remove(&self.journal)
    }

    /// Removes bytes whose hash is wrong.
    pub(crate) fn discard(self) -> io::Result<()> {
        remove(&self.journal)?;
        remove(&self.data)
    }
}

/// Writes ranges, and records each in the journal.
pub(crate) struct PartialWriter<'a> {
    part: &'a PartialFile,
    file: File,
}

impl PartialWriter<'_> {
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.write_all(bytes)?;
        let record = record(offset..offset + bytes.len() as u64);
        let mut records = self
            .part
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        records.write_all(&record)
    }
}

/// Returns the bytes that an interrupted download of `whole` has left.
pub(crate) fn bytes_done(whole: &Path, size: u64) -> u64 {
    let (data, journal) = paths(whole);
    if length(&data) != Some(size) {
        return 0;
    }
    recorded(&journal, size)
        .iter()
        .map(|done| done.end - done.start)
        .sum()
}

/// Returns the disk space that the rest of a partial file needs. Without sparse files, the file
/// system allocates the whole file at the start.
pub(crate) fn bytes_to_allocate(whole: &Path, size: u64) -> u64 {
    let (data, _) = paths(whole);
    let allocated = fs::metadata(data).map_or(0, |found| allocated(&found));
    size - bytes_done(whole, size)
        .max(allocated)
        .max(incomplete_bytes(whole, size))
        .min(size)
}

#[cfg(unix)]
fn allocated(found: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(found) * 512
}

#[cfg(not(unix))]
fn allocated(_: &fs::Metadata) -> u64 {
    0
}

/// Returns the path of the Python tools' partial file, which has the first bytes of the whole one.
fn incomplete(whole: &Path) -> PathBuf {
    let mut name = whole.as_os_str().to_owned();
    name.push(".incomplete");
    PathBuf::from(name)
}

/// Returns the bytes of `whole` that the Python tools have left, if this program has none.
pub(crate) fn incomplete_bytes(whole: &Path, size: u64) -> u64 {
    let ours = paths(whole).0.exists();
    length(&incomplete(whole))
        .filter(|length| !ours && *length <= size)
        .unwrap_or(0)
}

/// Takes over the Python tools' partial file, which no other process may write. Returns `true` if
/// there was one. The hash of the complete file checks its bytes: some versions write it in several
/// places concurrently.
pub(crate) fn adopt(whole: &Path, size: u64) -> io::Result<bool> {
    let done = incomplete_bytes(whole, size);
    if done == 0 {
        return Ok(false);
    }
    let (data, journal) = paths(whole);
    remove(&journal)?;
    fs::rename(incomplete(whole), &data)?;
    OpenOptions::new().write(true).open(&data)?.set_len(size)?;
    fs::write(&journal, record(0..done))?;
    Ok(true)
}

fn record(stretch: Range<u64>) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&stretch.start.to_le_bytes());
    record[8..].copy_from_slice(&stretch.end.to_le_bytes());
    record
}

/// Returns the paths of the partial file and its journal. Their names differ from `.incomplete`,
/// because the Python tools would take a file with holes for the first bytes.
fn paths(whole: &Path) -> (PathBuf, PathBuf) {
    let with_suffix = |suffix: &str| {
        let mut name = whole.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    (with_suffix(".moss-part"), with_suffix(".moss-journal"))
}

/// Returns the ranges of a journal, sorted and merged. Invalid records are ignored.
fn recorded(journal: &Path, size: u64) -> Vec<Range<u64>> {
    let bytes = moss_files::read_bytes(journal, moss_files::MAX_BYTES).unwrap_or_default();
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let records = bytes
        .chunks_exact(RECORD)
        .map(|record| number(&record[..8])..number(&record[8..]));
    let mut ranges: Vec<_> = records
        .filter(|range| range.start < range.end && range.end <= size)
        .collect();
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Returns the length of a file; `None` if it does not exist.
fn length(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.len())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
