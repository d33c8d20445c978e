//! A digest of a checkpoint's files that is cheap to compute.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    time::UNIX_EPOCH,
};

use sha2::{Digest, Sha256};

use crate::Checkpoint;

/// Bytes of the start and of the end of a weight file. They have the header of a safetensors file,
/// and the directory of a PyTorch file with the checksums of its tensors.
const ENDS: u64 = 64 << 10;

/// Configuration files that change what the weights compute.
const CONFIGURATION: [&str; 2] = ["config.json", "quantize_config.json"];

impl Checkpoint {
    /// Returns a digest of the files that takes milliseconds: it identifies the weights for caches
    /// of what was computed with them.
    ///
    /// It covers the content of the configuration, and of each weight file its name, length, time
    /// of modification, and first and last 64 KiB. It differs after a weight file was copied or
    /// downloaded again. It is equal only if a file was changed in the middle and its length and
    /// time of modification were restored.
    ///
    /// # Errors
    /// The system's.
    pub fn fingerprint(&self) -> io::Result<String> {
        let mut digest = Sha256::new();
        for name in CONFIGURATION {
            let file = File::open(self.folder().join(name));
            match file {
                Ok(mut file) => add(&mut file, 16 * ENDS, &mut digest)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => digest.update([0; 8]),
                Err(error) => return Err(error),
            }
        }
        self.weight_files()
            .try_for_each(|path| add_weight_file(path, &mut digest))?;
        let bytes = digest.finalize();
        Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

fn add_weight_file(path: &Path, digest: &mut Sha256) -> io::Result<()> {
    let mut file = File::open(path)?;
    let data = file.metadata()?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Times before 1970 count as 1970.
    let modified = data.modified()?.duration_since(UNIX_EPOCH);
    digest.update((name.len() as u64).to_le_bytes());
    digest.update(name.as_bytes());
    digest.update(data.len().to_le_bytes());
    digest.update(modified.unwrap_or_default().as_nanos().to_le_bytes());
    add(&mut file, ENDS, digest)?;
    file.seek(SeekFrom::Start(data.len().saturating_sub(ENDS)))?;
    add(&mut file, ENDS, digest)
}

/// Adds the next bytes of a file, at most `limit`, after their number.
fn add(file: &mut File, limit: u64, digest: &mut Sha256) -> io::Result<()> {
    let mut bytes = Vec::new();
    let read = file.take(limit).read_to_end(&mut bytes)?;
    digest.update((read as u64).to_le_bytes());
    digest.update(&bytes);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use moss_testing::copy_fixture;

    use super::*;

    fn fingerprint(folder: &Path) -> String {
        Checkpoint::open(folder).unwrap().fingerprint().unwrap()
    }

    /// Replaces a file, and restores its time of modification if `hide`.
    fn replace(path: &Path, bytes: &[u8], hide: bool) {
        let time = fs::metadata(path).unwrap().modified().unwrap();
        fs::write(path, bytes).unwrap();
        if hide {
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(time).unwrap();
        }
    }

    #[test]
    fn it_follows_weights_and_configuration_and_nothing_else() {
        let folder = copy_fixture("mini-int8");
        let first = fingerprint(folder.path());
        assert_eq!(fingerprint(folder.path()), first);
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        assert_eq!(fingerprint(folder.path()), first);

        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let weights = checkpoint.weight_files().next().unwrap().to_owned();
        drop(checkpoint);
        let bytes = fs::read(&weights).unwrap();
        replace(&weights, &bytes, true);
        assert_eq!(fingerprint(folder.path()), first);
        replace(&weights, &bytes, false);
        let touched = fingerprint(folder.path());
        assert_ne!(touched, first);

        let config = folder.path().join("config.json");
        let text = fs::read_to_string(&config).unwrap();
        replace(&config, format!("{text}\n").as_bytes(), true);
        assert_ne!(fingerprint(folder.path()), touched);
    }
}
