//! A checkpoint folder that appears whole: it is written under another name, which says that it is
//! unfinished, and renamed in the end.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use moss_checkpoint::{Checkpoint, Container, Outline, ShardDigest, shard_digest, write_index};
use moss_lock::{FileLock, holder_path};
use serde::{Deserialize, Serialize};

use crate::{FolderAction, NotReplaceable, QuantizeError};

/// What an unfinished folder keeps its records in.
const JOURNAL: &str = "unfinished.json";
const LOCK: &str = "unfinished.lock";

/// Files beside the weights are small: configuration, tokenizer, code, licence.
const MAX_SIDE_FILE: u64 = 64 << 20;

/// What is left free on the disk, for headers and files beside the weights too.
const RESERVE: u64 = 64 << 20;

/// What was being made, and how far it came.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Journal {
    /// The job, where it can be gone on with: an unfinished folder of another job is begun anew.
    job: Option<String>,
    /// Finished shards and the digest of their tensors.
    finished: BTreeMap<String, String>,
}

/// The folder in the making.
pub(crate) struct NewFolder {
    target: PathBuf,
    folder: PathBuf,
    /// Whether a checkpoint at `target` is to be replaced.
    replace: bool,
    journal: Journal,
    /// Taken out when the folder is finished or given up: on some file systems it is a file within
    /// the folder.
    lock: Option<FileLock>,
}

impl NewFolder {
    /// Begins `target`, or goes on with it where an earlier run of the same `job` was cut off.
    /// `shards` must fit the disk.
    ///
    /// With `replace`, a checkpoint that is there already is replaced in the end, unless it is
    /// `source`.
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
        let folder = beside(target, ".unfinished")?;
        let path = folder.join(LOCK);
        let records = [folder.join(JOURNAL), path.clone(), holder_path(&path)];
        if folder.exists() && !records.iter().any(|record| record.exists()) {
            return Err(QuantizeError::Exists { path: folder }); // not ours
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
            Err(error) => Err(new.given_up(error)),
        }
    }

    /// Removes what no later run goes on with, for a run that ends in `error`.
    pub(crate) fn given_up(mut self, error: QuantizeError) -> QuantizeError {
        if self.journal.job.is_none() {
            self.journal.finished.clear();
            // What cannot be removed is cleared away by the next run; why this one ended matters
            // more.
            let _ = self.clear();
            let _ = [JOURNAL, LOCK].map(|name| fs::remove_file(self.path(name)));
            self.lock = None;
            let _ = fs::remove_dir(&self.folder);
        }
        error
    }

    /// Refuses what the disk cannot hold, before hours are spent on it.
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

    /// Where a file goes.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether an earlier run finished this shard, and it still holds what was written then.
    pub(crate) fn has_kept(&self, name: &str, tensors: &[Outline]) -> bool {
        let digest = || shard_digest(&self.path(name), tensors).ok();
        let noted = self.journal.finished.get(name);
        noted.is_some_and(|noted| digest().is_some_and(|found| found.to_string() == *noted))
    }

    /// Reads a shard back, and notes it as finished.
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

    /// Adds the index and what stands beside the weights, checks that the whole opens, and gives it
    /// its name.
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
            // Who has the old files open keeps them: they are moved and removed, never written to.
            let old = beside(&self.target, ".replaced")?;
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
            // empty, as it was
            fs::remove_dir(&self.target)
                .map_err(|source| io(FolderAction::Replace, &self.target, source))?;
        }
        rename()
    }

    /// Everything that the source folder holds besides weights.
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

    /// Removes what an earlier run left and this one does not go on with.
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

/// Whether there is nothing at this path, or an empty folder.
fn is_free(target: &Path) -> bool {
    fs::read_dir(target).map_or(fs::symlink_metadata(target).is_err(), |mut entries| {
        entries.next().is_none()
    })
}

/// A path beside `target`, named after it.
fn beside(target: &Path, ending: &str) -> Result<PathBuf, QuantizeError> {
    let Some(name) = target.file_name() else {
        return Err(QuantizeError::Exists {
            path: target.to_owned(),
        });
    };
    let mut name = name.to_owned();
    name.push(ending);
    Ok(target.with_file_name(name))
}

/// Refuses to replace what is not a checkpoint, and the checkpoint that is being read.
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
    // The whole folder is removed in the end, and with it what is not part of a checkpoint.
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

/// Files beside the weights that every program for checkpoints writes.
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
