//! Verification of the cache: a disk or a crash may have damaged files since their download.

mod damage;
mod entries;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use self::entries::{Entries, Entry, blob_of, is_staged, names};
pub use damage::{Damage, DamagedFile};

use crate::{
    Absence, Digest, DownloadEvent, DownloadPlan, Hub, HubError, HubFile, ModelId, Place, Report,
    cache::ModelCache, resolve,
};

/// Result of hashing a model's files in the cache.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Verification {
    /// The snapshot of the listing, or the one that the model's name resolves to; empty if none is
    /// complete.
    pub folder: PathBuf,
    /// Number of files that were hashed.
    pub files: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Files that are damaged or missing.
    pub damaged: Vec<DamagedFile>,
    /// Names in snapshots whose hash is unknown: copies and links to files outside the blobs that
    /// match no blob and no listing, and, without a listing, several names of one snapshot that are
    /// links to the same blob.
    pub unchecked: Vec<PathBuf>,
}

impl Hub {
    /// Hashes every blob of a model, and every other file in its snapshots.
    ///
    /// A blob's name in the cache is its hash. With a `plan`, its files must exist and have the
    /// hashes of the hub's listing, even if their names in the snapshot are links.
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
        check.snapshots(folder);
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

    /// Removes damaged files, and the links to them in snapshots, so that a download fetches them
    /// again.
    ///
    /// # Errors
    /// [`HubError::Disk`].
    pub fn remove_damaged(&self, id: &ModelId, found: &Verification) -> Result<(), HubError> {
        let cache = ModelCache::new(&self.settings.cache, id);
        let remove = |path: &Path| match remove_entry(path) {
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

/// Removes a file, a link or an empty folder.
fn remove_entry(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir(path)
    } else {
        fs::remove_file(path)
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
            }; // a partial file, or that of another tool
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

    /// Checks the files in snapshots, except links to blobs, which are checked already.
    fn snapshots(&mut self, model: &Path) {
        let entries = std::mem::take(&mut self.snapshots.0);
        let blobs: Vec<_> = entries
            .iter()
            .map(|entry| blob_of(&entry.path, &model.join("blobs")))
            .collect();
        for (entry, blob) in entries.iter().zip(&blobs) {
            let Entry { name, path, .. } = entry;
            let is_listed =
                |file: &&HubFile| self.commit == Some(entry.commit.as_str()) && file.name == *name;
            let listed = self.listed.iter().find(is_listed);
            // The blobs of other names of the same snapshot.
            let others = || {
                let all = entries.iter().zip(&blobs);
                all.filter(|(other, _)| other.commit == entry.commit && other.name != *name)
                    .filter_map(|(_, blob)| blob.as_ref())
            };
            match fs::metadata(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.note(name.clone(), path.clone(), Some(Damage::Missing));
                    continue;
                }
                Err(source) => {
                    let damage = Damage::Unreadable { source };
                    self.note(name.clone(), path.clone(), Some(damage));
                    continue;
                }
                // A damaged blob is reported as such.
                Ok(found) if !found.is_file() => {
                    if blob.is_none() {
                        self.note(name.clone(), path.clone(), Some(Damage::NotAFile));
                    }
                    continue;
                }
                Ok(_) => {}
            }
            if let Some(blob) = blob {
                match listed {
                    Some(file) if file.digest.hex() != blob.as_str() => {
                        let damage = self.damage(name, path, &file.digest, Some(file.bytes));
                        if damage.is_some() {
                            self.note(name.clone(), path.clone(), damage);
                        }
                    }
                    None if others().any(|other| other == blob) => {
                        self.result.unchecked.push(path.clone());
                    }
                    _ => {}
                }
                continue;
            }
            if let Some(file) = listed {
                let damage = self.damage(name, path, &file.digest, Some(file.bytes));
                self.note(name.clone(), path.clone(), damage);
                continue;
            }
            if is_staged(name) {
                continue;
            }
            // A copy, a hard link, or a file elsewhere. Only the hash shows its blob, which is not
            // that of another name.
            let bytes = fs::metadata(path).map_or(0, |found| found.len());
            let candidates: Vec<_> = self
                .blobs
                .iter()
                .filter(|(hash, length)| **length == bytes && !others().any(|other| other == *hash))
                .filter_map(|(hash, _)| Digest::parse(hash))
                .collect();
            let mut damages: Vec<_> = Vec::new();
            for digest in &candidates {
                damages.push(self.damage(name, path, digest, None));
                if matches!(damages.last(), Some(None)) {
                    break;
                }
            }
            match damages.pop() {
                Some(damage) => self.note(name.clone(), path.clone(), damage),
                None => self.result.unchecked.push(path.clone()),
            }
        }
    }

    /// Checks the files of the hub's listing that are missing or folders in the snapshot.
    fn listing(&mut self, cache: &ModelCache, plan: &DownloadPlan) {
        for file in &plan.files {
            let path = cache.snapshot(&plan.commit).join(&file.name);
            let damage = match fs::symlink_metadata(&path) {
                Err(_) => Damage::Missing,
                // Empty folders are entries of the snapshot.
                Ok(found) if found.is_dir() && names(&path).is_ok_and(|all| !all.is_empty()) => {
                    Damage::NotAFile
                }
                Ok(_) => continue,
            };
            self.note(file.name.clone(), path, Some(damage));
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
            Ok(found) if !found.is_file() => return Some(Damage::NotAFile),
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
