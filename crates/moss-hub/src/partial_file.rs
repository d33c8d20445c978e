//! A file that is not whole yet: its bytes at their final places, and beside them a journal of the
//! stretches that are there.
//!
//! A stretch is written first and recorded after, sixteen bytes a record, so that a killed process
//! leaves a journal that promises at most what is there. Whether the bytes are right is for the
//! hash of the whole file to say.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

const RECORD: usize = 16;

/// The two files of an unfinished one.
#[derive(Debug)]
pub(crate) struct Part {
    data: PathBuf,
    journal: PathBuf,
    records: Mutex<File>,
    size: u64,
    done: Vec<Range<u64>>,
}

impl Part {
    /// Goes on with what is beside `whole`, or begins.
    pub(crate) fn open(whole: &Path, size: u64) -> io::Result<Self> {
        let (data, journal) = paths(whole);
        if length(&data) != Some(size) {
            remove(&journal)?; // before there is a file that it does not speak of
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

    /// The stretches that are missing, none longer than `piece`, in order.
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

    /// A handle to write with; each connection has its own.
    pub(crate) fn writer(&self) -> io::Result<PartWriter<'_>> {
        Ok(PartWriter {
            part: self,
            file: OpenOptions::new().write(true).open(&self.data)?,
        })
    }

    /// Where the bytes are.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Gives the file its name, at once and whole.
    pub(crate) fn finish(self, whole: &Path) -> io::Result<()> {
        moss_files::sync(&File::open(&self.data)?)?;
        fs::rename(&self.data, whole)?;
        remove(&self.journal)
    }

    /// Throws away bytes that proved wrong.
    pub(crate) fn discard(self) -> io::Result<()> {
        remove(&self.journal)?;
        remove(&self.data)
    }
}

/// Writes stretches, and records each.
pub(crate) struct PartWriter<'a> {
    part: &'a Part,
    file: File,
}

impl PartWriter<'_> {
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

/// Bytes that an interrupted download left beside `whole`.
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

/// Bytes of disk that the rest of an unfinished file still takes. On a file system without sparse
/// files the whole file has its room from the beginning.
pub(crate) fn bytes_to_allocate(whole: &Path, size: u64) -> u64 {
    let (data, _) = paths(whole);
    let allocated = fs::metadata(data).map_or(0, |found| allocated(&found));
    size - bytes_done(whole, size)
        .max(allocated)
        .max(foreign_bytes(whole, size))
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

/// The unfinished file of the Python tools: the first bytes of the whole one.
fn foreign(whole: &Path) -> PathBuf {
    let mut name = whole.as_os_str().to_owned();
    name.push(".incomplete");
    PathBuf::from(name)
}

/// Bytes that the Python tools left beside `whole`, where there are none of ours.
pub(crate) fn foreign_bytes(whole: &Path, size: u64) -> u64 {
    let ours = paths(whole).0.exists();
    length(&foreign(whole))
        .filter(|length| !ours && *length <= size)
        .unwrap_or(0)
}

/// Takes over what the Python tools left; no other process may be writing it. Returns `true` if
/// there was something. Whether its bytes are right is for the hash of the whole file to say: some
/// versions fill it from several places at once.
pub(crate) fn adopt(whole: &Path, size: u64) -> io::Result<bool> {
    let done = foreign_bytes(whole, size);
    if done == 0 {
        return Ok(false);
    }
    let (data, journal) = paths(whole);
    remove(&journal)?;
    fs::rename(foreign(whole), &data)?;
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

/// Names of our own: under `.incomplete` the hub's Python tools would take our file with its holes
/// for the head of one.
fn paths(whole: &Path) -> (PathBuf, PathBuf) {
    let beside = |suffix: &str| {
        let mut name = whole.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    (beside(".moss-part"), beside(".moss-journal"))
}

/// What a journal says is there: in order, without overlaps, each as long as can be. Records that
/// make no sense are passed over.
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

/// Of a file that is there.
fn length(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.len())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
