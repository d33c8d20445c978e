//! Hashes what the cache holds again: a disk or a crash may have damaged it since it was
//! downloaded.

mod damage;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

pub use damage::{Damage, DamagedFile};

use crate::{
    Absence, Digest, DownloadEvent, DownloadPlan, Hub, HubError, HubFile, ModelId, Place, Report,
    cache::ModelCache, resolve,
};

/// Result of hashing a model's files in the cache.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Verification {
    /// The snapshot that the listing describes, or that the model's name stands for; empty if none
    /// is complete.
    pub folder: PathBuf,
    /// Number of files that were hashed.
    pub files: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Files that are damaged or missing.
    pub damaged: Vec<DamagedFile>,
    /// Files without a known hash: copies in a snapshot that no blob and no listing speaks of.
    pub unchecked: Vec<PathBuf>,
}

impl Hub {
    /// Hashes every blob of a model, and every file of its snapshots that is no link to one.
    ///
    /// A blob's name in the cache is its hash. With a `plan`, its files must be there and have the
    /// hashes of the hub's listing.
    ///
    /// # Errors
    /// [`HubError::NotFound`] if the cache does not have the model, or has no complete snapshot of
    /// it and nothing is damaged; [`HubError::Disk`] for a folder that cannot be read. A file that
    /// cannot be read is damaged.
    pub fn verify(
        &self,
        id: &ModelId,
        plan: Option<&DownloadPlan>,
        report: Report<'_>,
    ) -> Result<Verification, HubError> {
        let cache = ModelCache::new(&self.settings.cache, id);
        let folder = cache.folder();
        if !folder.join("snapshots").is_dir() && !folder.join("blobs").is_dir() {
            return Err(not_found(id, folder, Absence::NotFound));
        }
        let mut check = Check {
            snapshots: Entries::of(folder)?,
            listed: plan.map_or(&[][..], |plan| &plan.files),
            commit: plan.map(|plan| plan.commit.as_str()),
            blobs: BTreeMap::new(),
            result: Verification::default(),
            report,
        };
        check.blobs(folder)?;
        check.snapshots();
        if let Some(plan) = plan {
            check.listing(&cache, plan);
        }
        let mut result = check.result;
        let snapshot =
            plan.map_or_else(|| resolve::snapshot(folder), |plan| Ok(plan.folder.clone()));
        match snapshot {
            Ok(snapshot) => result.folder = snapshot,
            Err(why) if result.damaged.is_empty() => return Err(not_found(id, folder, why)),
            Err(_) => {}
        }
        Ok(result)
    }

    /// Removes damaged files, and the names in snapshots that lead to them, so that a download
    /// brings them again.
    ///
    /// # Errors
    /// [`HubError::Disk`].
    pub fn remove_damaged(&self, id: &ModelId, found: &Verification) -> Result<(), HubError> {
        let cache = ModelCache::new(&self.settings.cache, id);
        let remove = |path: &Path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(HubError::Disk {
                path: path.to_owned(),
                source: error,
            }),
            _ => Ok(()),
        };
        found
            .damaged
            .iter()
            .try_for_each(|damaged| remove(&damaged.path))?;
        let dangling = Entries::of(cache.folder())?
            .0
            .into_iter()
            .filter(|entry| !entry.path.exists());
        dangling
            .into_iter()
            .try_for_each(|entry| remove(&entry.path))
    }
}

fn not_found(id: &ModelId, folder: &Path, why: Absence) -> HubError {
    HubError::NotFound {
        name: id.to_string(),
        looked: vec![Place {
            path: folder.to_owned(),
            why,
        }],
        similar: None,
        id: Some(id.to_string()),
    }
}

/// A name in a snapshot.
struct Entry {
    commit: String,
    name: String,
    path: PathBuf,
    /// What a symbolic link leads to.
    target: Option<PathBuf>,
}

/// All names of all snapshots.
struct Entries(Vec<Entry>);

impl Entries {
    fn of(model: &Path) -> Result<Self, HubError> {
        let mut entries = Vec::new();
        for commit in names(&model.join("snapshots"))? {
            let folder = model.join("snapshots").join(&commit);
            if folder.is_dir() {
                Self::collect(&folder, &commit, "", &mut entries)?;
            }
        }
        Ok(Self(entries))
    }

    fn collect(
        folder: &Path,
        commit: &str,
        prefix: &str,
        entries: &mut Vec<Entry>,
    ) -> Result<(), HubError> {
        for name in names(folder)? {
            let path = folder.join(&name);
            let name = format!("{prefix}{name}");
            if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                Self::collect(&path, commit, &format!("{name}/"), entries)?;
            } else {
                let target = fs::read_link(&path).ok().map(|link| folder.join(link));
                entries.push(Entry {
                    commit: commit.to_owned(),
                    name,
                    path,
                    target,
                });
            }
        }
        Ok(())
    }
}

/// The names in a folder, in order; none if there is no such folder.
fn names(folder: &Path) -> Result<BTreeSet<String>, HubError> {
    let disk = |source| HubError::Disk {
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries.map_err(disk)?,
    };
    let name =
        |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    entries.map(name).collect::<io::Result<_>>().map_err(disk)
}

struct Check<'a> {
    snapshots: Entries,
    listed: &'a [HubFile],
    commit: Option<&'a str>,
    /// Length of each blob with a hash for a name.
    blobs: BTreeMap<String, u64>,
    result: Verification,
    report: Report<'a>,
}

impl Check<'_> {
    fn blobs(&mut self, model: &Path) -> Result<(), HubError> {
        let folder = model.join("blobs");
        for hash in names(&folder)? {
            let Some(digest) = Digest::parse(&hash) else {
                continue;
            }; // unfinished, or of another tool
            let path = folder.join(&hash);
            let leads_here = |entry: &&Entry| {
                entry.target.as_ref().and_then(|target| target.file_name()) == path.file_name()
            };
            let listed = self.listed.iter().find(|file| file.digest == digest);
            let named = self
                .snapshots
                .0
                .iter()
                .find(leads_here)
                .map(|entry| entry.name.clone());
            let name = listed
                .map(|file| file.name.clone())
                .or(named)
                .unwrap_or_else(|| hash.clone());
            if let Ok(found) = fs::metadata(&path) {
                self.blobs.insert(hash, found.len());
            }
            let damage = self.damage(&name, &path, &digest, listed.map(|file| file.bytes));
            self.note(name, path, damage);
        }
        Ok(())
    }

    /// Dangling links, and files that are no links.
    fn snapshots(&mut self) {
        for Entry {
            commit,
            name,
            path,
            target,
        } in std::mem::take(&mut self.snapshots.0)
        {
            if target.is_some() {
                if !path.exists() {
                    self.note(name, path, Some(Damage::Missing));
                }
                continue;
            }
            if name.starts_with('.') {
                continue; // staged by a run that was interrupted
            }
            let is_listed =
                |file: &&HubFile| self.commit == Some(commit.as_str()) && file.name == name;
            if let Some(file) = self.listed.iter().find(is_listed) {
                let damage = self.damage(&name, &path, &file.digest, Some(file.bytes));
                self.note(name, path, damage);
                continue;
            }
            // A copy, or a hard link: of which blob, only the hash can say.
            let bytes = fs::metadata(&path).map_or(0, |found| found.len());
            let candidates = self.blobs.iter().filter(|(_, length)| **length == bytes);
            let candidates: Vec<_> = candidates
                .filter_map(|(hash, _)| Digest::parse(hash))
                .collect();
            let mut damages: Vec<_> = Vec::new();
            for digest in &candidates {
                damages.push(self.damage(&name, &path, digest, None));
                if matches!(damages.last(), Some(None)) {
                    break;
                }
            }
            match damages.pop() {
                Some(damage) => self.note(name, path, damage),
                None => self.result.unchecked.push(path),
            }
        }
    }

    /// Files of the hub's listing that the snapshot lacks.
    fn listing(&mut self, cache: &ModelCache, plan: &DownloadPlan) {
        for file in &plan.files {
            let path = cache.snapshot(&plan.commit).join(&file.name);
            if fs::symlink_metadata(&path).is_err() {
                self.note(file.name.clone(), path, Some(Damage::Missing));
            }
        }
    }

    fn damage(
        &self,
        name: &str,
        path: &Path,
        digest: &Digest,
        bytes: Option<u64>,
    ) -> Option<Damage> {
        let length = match fs::metadata(path) {
            Ok(found) => found.len(),
            Err(error) => return Some(Damage::Unreadable { source: error }),
        };
        if let Some(expected) = bytes.filter(|expected| *expected != length) {
            return Some(Damage::Length {
                found: length,
                expected,
            });
        }
        (self.report)(DownloadEvent::Verifying {
            file: name,
            bytes: length,
        });
        match digest.of_file(path, length) {
            Ok(found) if found == digest.hex() => None,
            Ok(found) => Some(Damage::Hash {
                found,
                expected: digest.hex().to_owned(),
            }),
            Err(error) => Some(Damage::Unreadable { source: error }),
        }
    }

    fn note(&mut self, name: String, path: PathBuf, damage: Option<Damage>) {
        match damage {
            Some(damage) => self.result.damaged.push(DamagedFile { name, path, damage }),
            None => {
                self.result.files += 1;
                self.result.bytes += fs::metadata(&path).map_or(0, |found| found.len());
            }
        }
    }
}
