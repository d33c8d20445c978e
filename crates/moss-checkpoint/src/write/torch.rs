//! PyTorch's container: a zip of stored entries, a pickle and one entry per storage. Every tensor
//! gets a separate storage.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
};

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{Outline, pickle::write_state_dict};

/// Alignment of storages in files of `torch.save`, for memory mapping, in bytes.
const ALIGNMENT: u16 = 64;

/// A zip file during writing, with an open entry.
pub(super) struct TorchFile {
    pub(super) zip: ZipWriter<BufWriter<File>>,
    /// The folder in the archive.
    stem: String,
    storages: usize,
}

impl TorchFile {
    pub(super) fn begin(out: BufWriter<File>, stem: &str, tensors: &[Outline]) -> io::Result<Self> {
        let mut file = Self {
            zip: ZipWriter::new(out),
            stem: stem.to_owned(),
            storages: 0,
        };
        file.entry("data.pkl", &write_state_dict(tensors))?;
        file.entry("byteorder", b"little")?;
        Ok(file)
    }

    pub(super) fn begin_storage(&mut self, bytes: u64) -> io::Result<()> {
        let name = format!("data/{}", self.storages);
        self.storages += 1;
        self.start(&name, bytes)
    }

    pub(super) fn finish(mut self) -> io::Result<BufWriter<File>> {
        self.entry("version", b"3\n")?; // the archive format, unchanged since PyTorch 1.6
        Ok(self.zip.finish()?)
    }

    fn entry(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.start(name, bytes.len() as u64)?;
        self.zip.write_all(bytes)
    }

    fn start(&mut self, name: &str, bytes: u64) -> io::Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(bytes >= u64::from(u32::MAX))
            .with_alignment(ALIGNMENT);
        Ok(self
            .zip
            .start_file(format!("{}/{name}", self.stem), options)?)
    }
}
