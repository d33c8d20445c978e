//! A new checkpoint folder: it is written as `NAME.unfinished` and renamed when it is complete.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use moss_checkpoint::{Checkpoint, Container, Outline, ShardDigest, shard_digest, write_index};
use moss_lock::{FileLock, holder_path};
use serde::{Deserialize, Serialize};

use crate::{FolderAction, NotReplaceable, QuantizeError};

/// The journal of an unfinished folder.
const JOURNAL: &str = "unfinished.json";
const LOCK: &str = "unfinished.lock";

/// Maximum size of files that are copied with the weights: configuration, tokenizer, code, license.
const MAX_SIDE_FILE: u64 = 64 << 20;

/// Disk space that stays free, including that of headers and of files other than weights.
const RESERVE: u64 = 64 << 20;

/// The job of an unfinished folder, and its progress.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Journal {
    /// The job, if it can be resumed. A folder of another job is started from the beginning.
    job: Option<String>,
    /// Finished shards, and the digests of their tensors.
    finished: BTreeMap<String, String>,
}

/// A folder that is being written.
pub(crate) struct NewFolder {
    target: PathBuf,
    folder: PathBuf,
    /// A checkpoint at `target` is replaced.
    replace: bool,
    journal: Journal,
    /// `None` once the folder is finished or abandoned: on some file systems the lock is a file in
    /// the folder.
    lock: Option<FileLock>,
}

impl NewFolder {
    /// Starts the folder `target`, or resumes it if an earlier run of the same `job` was interrupted.
    /// Checks that the disk has space for `shards`.
    ///
    /// With `replace`, [`Self::finish`] replaces an existing checkpoint, unless it is `source`.
    pub(crate) fn begin(
        target: &Path,
        source: &Path,
        replace: bool,
        job: Option<String>,
        container: Container,
        shards: &[Vec<Outline>],
    ) -> Result<Self, QuantizeError> {
        match (is_free(target), replace) {
            (true, _) => {}
            (false, true) => check_replaceable(target, source)?,
            (false, false) => {
                return Err(QuantizeError::Exists {
                    path: target.to_owned(),
                });
            }
        }
        let folder = sibling(target, ".unfinished")?;
        let path = folder.join(LOCK);
        let records = [folder.join(JOURNAL), path.clone(), holder_path(&path)];
        if folder.exists() && !records.iter().any(|record| record.exists()) {
            return Err(QuantizeError::Exists { path: folder }); // not written by this program
        }
        fs::create_dir_all(&folder).map_err(|source| io(FolderAction::Create, &folder, source))?;
        let lock = FileLock::try_acquire(&path)
            .map_err(|source| io(FolderAction::Create, &path, source))?;
        if lock.is_none() {
            return Err(QuantizeError::Busy { path: folder });
        }
        let journal = fs::read(folder.join(JOURNAL)).ok();
        let journal = journal.and_then(|bytes| serde_json::from_slice::<Journal>(&bytes).ok());
        let journal = match journal {
            Some(journal) if job.is_some() && journal.job == job => journal,
            _ => Journal {
                job,
                ..Journal::default()
            },
        };
        let new = Self {
            target: target.to_owned(),
            folder,
            replace,
            journal,
            lock,
        };
        let ready = new
            .save()
            .and_then(|()| new.clear())
            .and_then(|()| new.check_room(container, shards));
        match ready {
            Ok(()) => Ok(new),
            Err(error) => Err(new.abandon(error)),
        }
    }

    /// Removes the folder after `error`, unless a later run can resume it. Returns `error`.
    pub(crate) fn abandon(mut self, error: QuantizeError) -> QuantizeError {
        if self.journal.job.is_none() {
            self.journal.finished.clear();
            // Errors are ignored, because `error` is the cause. The next run removes what remains.
            let _ = self.clear();
            let _ = [JOURNAL, LOCK].map(|name| fs::remove_file(self.path(name)));
            self.lock = None;
            let _ = fs::remove_dir(&self.folder);
        }
        error
    }

    /// Checks the free disk space, before hours are spent.
    fn check_room(
        &self,
        container: Container,
        shards: &[Vec<Outline>],
    ) -> Result<(), QuantizeError> {
        let is_missing = |number: &usize| {
            !self
                .journal
                .finished
                .contains_key(&container.file_name(number + 1, shards.len()))
        };
        let missing = (0..shards.len())
            .filter(is_missing)
            .flat_map(|number| &shards[number]);
        let needed = missing
            .map(Outline::bytes)
            .sum::<u64>()
            .saturating_add(RESERVE);
        let free = fs4::available_space(&self.folder)
            .map_err(|source| io(FolderAction::Measure, &self.folder, source))?;
        match needed <= free {
            true => Ok(()),
            false => Err(QuantizeError::DiskSpace {
                path: self.folder.clone(),
                needed,
                free,
            }),
        }
    }

    /// Returns the path of a file in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns true if an earlier run finished this shard and its digest is unchanged.
    pub(crate) fn has_kept(&self, name: &str, tensors: &[Outline]) -> bool {
        let digest = || shard_digest(&self.path(name), tensors).ok();
        let expected = self.journal.finished.get(name);
        expected
            .is_some_and(|expected| digest().is_some_and(|found| found.to_string() == *expected))
    }

    /// Reads a shard back, compares its digest, and records it as finished.
    pub(crate) fn verify(
        &mut self,
        name: &str,
        tensors: &[Outline],
        written: ShardDigest,
    ) -> Result<(), QuantizeError> {
        let file = self.path(name);
        let found = shard_digest(&file, tensors)?;
        if found != written {
            let (found, expected) = (found.to_string(), written.to_string());
            return Err(QuantizeError::Damaged {
                file,
                found,
                expected,
            });
        }
        self.journal
            .finished
            .insert(name.to_owned(), written.to_string());
        self.save()
    }

    /// Writes the index and the other files, checks that the checkpoint opens, and renames the folder
    /// to its final name.
    pub(crate) fn finish(
        mut self,
        source: &Checkpoint,
        container: Container,
        shards: &[Vec<Outline>],
        config: Option<Vec<u8>>,
    ) -> Result<(), QuantizeError> {
        if shards.len() > 1 {
            write_index(&self.folder, container, shards)?;
        }
        self.copy_side_files(source.folder())?;
        if let Some(config) = config {
            let path = self.path("config.json");
            fs::write(&path, config).map_err(|source| io(FolderAction::Write, &path, source))?;
        }
        Checkpoint::open(&self.folder)?;
        for name in [JOURNAL, LOCK] {
            let path = self.path(name);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io(FolderAction::Remove, &path, source));
                }
                _ => {}
            }
        }
        self.lock = None;
        let rename = || {
            fs::rename(&self.folder, &self.target)
                .map_err(|source| io(FolderAction::Rename, &self.folder, source))
        };
        if self.replace && !is_free(&self.target) {
            // The old files are moved and removed, never written to: a process that has them open or
            // mapped can still read them.
            let old = sibling(&self.target, ".replaced")?;
            fs::rename(&self.target, &old)
                .map_err(|source| io(FolderAction::Replace, &self.target, source))?;
            if let Err(error) = rename() {
                let _ = fs::rename(&old, &self.target); // the error matters more
                return Err(error);
            }
            return fs::remove_dir_all(&old)
                .map_err(|source| io(FolderAction::Remove, &old, source));
        }
        if self.target.exists() {
            // `begin` checked that it is empty
            fs::remove_dir(&self.target)
                .map_err(|source| io(FolderAction::Replace, &self.target, source))?;
        }
        rename()
    }

    /// Copies the files of the source folder that are not weights.
    fn copy_side_files(&self, source: &Path) -> Result<(), QuantizeError> {
        for entry in fs::read_dir(source).map_err(|error| io(FolderAction::Read, source, error))? {
            let path = entry
                .map_err(|error| io(FolderAction::Read, source, error))?
                .path();
            let (Some(name), Ok(data)) = (
                path.file_name().and_then(|name| name.to_str()),
                fs::metadata(&path),
            ) else {
                continue;
            };
            if is_weight_file(name)
                || name.starts_with('.')
                || !data.is_file()
                || data.len() > MAX_SIDE_FILE
            {
                continue;
            }
            fs::copy(&path, self.path(name))
                .map_err(|source| io(FolderAction::Copy, &path, source))?;
        }
        Ok(())
    }

    fn save(&self) -> Result<(), QuantizeError> {
        let (path, new) = (self.path(JOURNAL), self.path("unfinished.json.new"));
        let text = serde_json::json!(self.journal).to_string();
        fs::write(&new, text).map_err(|source| io(FolderAction::Write, &new, source))?;
        fs::rename(&new, &path).map_err(|source| io(FolderAction::Rename, &new, source))
    }

    /// Removes files of an earlier run, except the journal, the lock and the finished shards.
    fn clear(&self) -> Result<(), QuantizeError> {
        let records = [
            self.path(JOURNAL),
            self.path(LOCK),
            holder_path(&self.path(LOCK)),
        ];
        for entry in fs::read_dir(&self.folder)
            .map_err(|source| io(FolderAction::Read, &self.folder, source))?
        {
            let path = entry
                .map_err(|source| io(FolderAction::Read, &self.folder, source))?
                .path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if !records.contains(&path) && !self.journal.finished.contains_key(&name) {
                fs::remove_file(&path).map_err(|source| io(FolderAction::Remove, &path, source))?;
            }
        }
        Ok(())
    }
}

/// Returns true if the path does not exist or is an empty folder.
fn is_free(target: &Path) -> bool {
    fs::read_dir(target).map_or(fs::symlink_metadata(target).is_err(), |mut entries| {
        entries.next().is_none()
    })
}

/// Returns the path of `target` with `ending` appended to its name.
fn sibling(target: &Path, ending: &str) -> Result<PathBuf, QuantizeError> {
    let Some(name) = target.file_name() else {
        return Err(QuantizeError::Exists {
            path: target.to_owned(),
        });
    };
    let mut name = name.to_owned();
    name.push(ending);
    Ok(target.with_file_name(name))
}

/// Checks that `target` is a checkpoint folder, and not that of `source`.
fn check_replaceable(target: &Path, source: &Path) -> Result<(), QuantizeError> {
    let refused = |why| {
        Err(QuantizeError::NotReplaced {
            path: target.to_owned(),
            why,
        })
    };
    let real =
        |path: &Path| fs::canonicalize(path).map_err(|error| io(FolderAction::Read, path, error));
    let weights = |entry: fs::DirEntry| entry.file_name().to_str().is_some_and(is_weight_file);
    let is_checkpoint = target.join("config.json").is_file()
        && fs::read_dir(target).is_ok_and(|entries| entries.flatten().any(weights));
    if !is_checkpoint {
        return refused(NotReplaceable::NotCheckpoint);
    }
    if real(source)?.starts_with(real(target)?) {
        return refused(NotReplaceable::IsSource);
    }
    // The whole folder will be removed, so that it may only contain files of a checkpoint.
    for entry in fs::read_dir(target).map_err(|error| io(FolderAction::Read, target, error))? {
        let path = entry
            .map_err(|error| io(FolderAction::Read, target, error))?
            .path();
        let name = path.file_name().and_then(|name| name.to_str());
        let is_part = name.is_some_and(|name| {
            is_weight_file(name) || SIDE_FILES.contains(&name) || source.join(name).is_file()
        });
        if !is_part || path.is_dir() {
            return Err(QuantizeError::ForeignFile { path });
        }
    }
    Ok(())
}

/// Files of a checkpoint other than weights, as common programs write them.
const SIDE_FILES: [&str; 9] = [
    "config.json",
    "quantize_config.json",
    "generation_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "tokenizer.json",
];

fn is_weight_file(name: &str) -> bool {
    name.ends_with(".index.json")
        || (name.starts_with("model") && name.ends_with(".safetensors"))
        || (name.starts_with("pytorch_model") && name.ends_with(".bin"))
}

pub(crate) fn io(what: FolderAction, path: &Path, source: std::io::Error) -> QuantizeError {
    QuantizeError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}
