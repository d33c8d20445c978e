//! Planning and running downloads.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::Duration,
};

use crate::{
    DownloadEvent, Fetched, HubError, HubFile, HubSettings, ListingFault, MissingFile, ModelId,
    Report, Timeouts,
    cache::ModelCache,
    fault::{Failure, shown},
    files,
    http::Http,
    listing::{self, Listing},
    partial_file::{self, PartialFile},
    retry::{self, Retries},
    space::{self, Demand},
    transfer::Transfer,
};

/// Attempts for a listing. Fewer than for files, because a user waits for it, and no progress is
/// lost.
const LISTING_ATTEMPTS: u32 = 4;

/// The longest pause requested by a server that is accepted for a listing.
const LISTING_RETRY_AFTER: Duration = Duration::from_secs(10);

/// A client of a hub.
pub struct Hub {
    pub(crate) settings: HubSettings,
    http: Http,
}

/// The files of a download.
#[derive(Debug)]
pub struct DownloadPlan {
    /// The model.
    pub id: ModelId,
    /// The address of the hub.
    pub endpoint: String,
    /// The license by the hub's name, such as `agpl-3.0`.
    pub license: Option<String>,
    /// The folder after the download.
    pub folder: PathBuf,
    /// The files that the engine needs, small ones first.
    pub files: Vec<HubFile>,
    /// Bytes of them that are on the disk already.
    pub bytes_done: u64,
    pub(crate) commit: String,
}

impl DownloadPlan {
    /// Returns the bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Returns the bytes that will be fetched.
    pub fn bytes_missing(&self) -> u64 {
        self.bytes().saturating_sub(self.bytes_done)
    }
}

impl Hub {
    /// Creates a client, without opening a connection.
    ///
    /// # Errors
    /// [`HubError::BadEndpoint`], [`HubError::BadProxy`].
    pub fn new(settings: HubSettings) -> Result<Self, HubError> {
        Ok(Self {
            http: Http::new(&settings)?,
            settings,
        })
    }

    /// Fetches the list of a model's files.
    ///
    /// # Errors
    /// [`HubError::Offline`], [`HubError::Transfer`], [`HubError::Listing`],
    /// [`HubError::Incomplete`].
    pub fn plan(&self, id: &ModelId, report: Report<'_>) -> Result<DownloadPlan, HubError> {
        let Listing {
            commit,
            license,
            files,
            of_unknown_length,
        } = self.list(id, report)?;
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        let endpoint = shown(self.http.base());
        let chosen = files::choose(&names).map_err(|missing| HubError::Incomplete {
            id: id.to_string(),
            endpoint: endpoint.clone(),
            missing,
        })?;
        let mut files: Vec<_> = files
            .iter()
            .filter(|file| chosen.contains(&file.name.as_str()))
            .cloned()
            .collect();
        for file in &mut files {
            if of_unknown_length.contains(&file.name) {
                let name = Fetched::File(file.name.clone());
                file.bytes = self.retrying(name, report, || self.http.length(&file.url))?;
            }
        }
        files.sort_by_key(|file| file.bytes);
        let cache = ModelCache::new(&self.settings.cache, id);
        let done = |file: &HubFile| {
            let blob = cache.blob(file.digest.hex());
            let in_snapshot = || cache.own_file(&commit, &file.name, file.bytes).is_some();
            if is_complete(&blob, file) || in_snapshot() {
                file.bytes
            } else {
                partial_file::bytes_done(&blob, file.bytes)
                    .max(partial_file::incomplete_bytes(&blob, file.bytes))
            }
        };
        Ok(DownloadPlan {
            id: id.clone(),
            endpoint,
            license,
            folder: cache.snapshot(&commit),
            bytes_done: files.iter().map(done).sum(),
            files,
            commit,
        })
    }

    /// Fetches the missing files and returns the folder. An interrupted download resumes.
    ///
    /// # Errors
    /// [`HubError::Space`] before the first byte; [`HubError::Transfer`], [`HubError::Hash`],
    /// [`HubError::Disk`]; [`HubError::Incomplete`] if the downloaded index of the weights names a
    /// file that the listing does not have.
    pub fn download(&self, plan: &DownloadPlan, report: Report<'_>) -> Result<PathBuf, HubError> {
        let cache = ModelCache::new(&self.settings.cache, &plan.id);
        let disk = |source| HubError::Disk {
            path: plan.folder.clone(),
            source,
        };
        cache.create(&plan.commit).map_err(disk)?;
        let demand = demand(&cache, plan).map_err(disk)?;
        space::check(&self.settings.cache, demand)?;
        for file in &plan.files {
            let hash = file.digest.hex();
            let lock = cache.lock(hash, || report(DownloadEvent::Waiting { file: &file.name }));
            let lock = lock.map_err(disk)?;
            let blob = cache.blob(hash);
            if !is_complete(&blob, file) {
                if keep_own_file(&cache, plan, file, report).map_err(disk)? {
                    continue;
                }
                self.fetch(file, &blob, cache.excludes_others(hash, &lock), report)?;
            }
            drop(lock);
            cache.link(&plan.commit, &file.name, hash).map_err(disk)?;
        }
        if !files::is_complete(&plan.folder) {
            return Err(HubError::Incomplete {
                id: plan.id.to_string(),
                endpoint: plan.endpoint.clone(),
                missing: MissingFile::IndexedShard,
            });
        }
        cache
            .refer(self.settings.source.reference(), &plan.commit)
            .map_err(disk)?;
        Ok(plan.folder.clone())
    }

    fn list(&self, id: &ModelId, report: Report<'_>) -> Result<Listing, HubError> {
        if self.settings.offline {
            return Err(HubError::Offline { id: id.to_string() });
        }
        let (source, base) = (self.settings.source, self.http.base());
        let bad = |reason| HubError::Listing {
            url: shown(base),
            id: id.to_string(),
            reason,
        };
        let url = listing::address(source, base, id)
            .map_err(|error| bad(ListingFault::Parse(error.to_string())))?;
        let text = self.retrying(Fetched::Listing, report, || self.http.text(&url))?;
        listing::read(source, base, id, &text).map_err(bad)
    }

    /// Runs a small request, with retries.
    fn retrying<T>(
        &self,
        file: Fetched,
        report: Report<'_>,
        request: impl Fn() -> Result<T, Failure>,
    ) -> Result<T, HubError> {
        let timeouts = self.settings.timeouts;
        let timeouts = Timeouts {
            attempts: timeouts.attempts.min(LISTING_ATTEMPTS),
            ..timeouts
        };
        let mut retries = Retries::new(&timeouts).with_longest_retry_after(LISTING_RETRY_AFTER);
        loop {
            let failure = match request() {
                Ok(found) => return Ok(found),
                Err(failure) => failure,
            };
            let Some(wait) = retries.pause(&failure, false) else {
                return Err(HubError::transfer(file, failure, retries.failures()));
            };
            report(DownloadEvent::Retrying {
                file: &file,
                fault: &failure.fault,
                wait,
            });
            retry::sleep(wait, &AtomicBool::new(false));
        }
    }

    /// Fetches one file. `blob` appears when it is complete. `may_adopt` allows the use of another
    /// tool's partial file; that tool must not write it at the same time.
    fn fetch(
        &self,
        file: &HubFile,
        blob: &Path,
        may_adopt: bool,
        report: Report<'_>,
    ) -> Result<(), HubError> {
        let disk = |source: io::Error| HubError::Disk {
            path: blob.to_owned(),
            source,
        };
        let mut adopted = may_adopt && partial_file::adopt(blob, file.bytes).map_err(disk)?;
        loop {
            let part = PartialFile::open(blob, file.bytes).map_err(disk)?;
            let done = partial_file::bytes_done(blob, file.bytes);
            report(DownloadEvent::Started {
                file: &file.name,
                bytes: file.bytes,
                done,
            });
            let (http, settings) = (&self.http, &self.settings);
            let (stop, established) = Default::default();
            Transfer {
                http,
                settings,
                file,
                part: &part,
                report,
                stop,
                established,
            }
            .run()?;
            report(DownloadEvent::Verifying {
                file: &file.name,
                bytes: file.bytes,
            });
            let found = file.digest.of_file(part.data(), file.bytes).map_err(disk)?;
            if found == file.digest.hex() {
                part.finish(blob).map_err(disk)?;
                report(DownloadEvent::Finished {
                    file: &file.name,
                    bytes: file.bytes,
                });
                return Ok(());
            }
            part.discard().map_err(disk)?;
            // The other tool's bytes may have been wrong: fetch the whole file.
            if !std::mem::take(&mut adopted) {
                let (name, expected) = (file.name.clone(), file.digest.hex().to_owned());
                return Err(HubError::Hash {
                    file: name,
                    url: shown(&file.url),
                    found,
                    expected,
                });
            }
        }
    }
}

/// Returns the disk space that a download needs.
fn demand(cache: &ModelCache, plan: &DownloadPlan) -> io::Result<Demand> {
    let missing = |file: &&HubFile| {
        !is_complete(&cache.blob(file.digest.hex()), file)
            && cache
                .own_file(&plan.commit, &file.name, file.bytes)
                .is_none()
    };
    let missing: Vec<_> = plan.files.iter().filter(missing).collect();
    let rest = |file: &&HubFile| {
        partial_file::bytes_to_allocate(&cache.blob(file.digest.hex()), file.bytes)
    };
    let blobs = missing.iter().map(rest).fold(0, u64::saturating_add);
    let is_kept = |file: &&HubFile| {
        cache.is_linked(&plan.commit, &file.name, file.digest.hex())
            || cache
                .own_file(&plan.commit, &file.name, file.bytes)
                .is_some()
    };
    let unlinked: Vec<_> = plan.files.iter().filter(|file| !is_kept(file)).collect();
    let copies = if unlinked.is_empty() || cache.has_links(&plan.commit)? {
        0
    } else {
        unlinked
            .iter()
            .map(|file| file.bytes)
            .fold(0, u64::saturating_add)
    };
    Ok(Demand { blobs, copies })
}

/// Keeps a file that another tool has put into the snapshot, if its hash is right. Returns `false`
/// if there is none.
fn keep_own_file(
    cache: &ModelCache,
    plan: &DownloadPlan,
    file: &HubFile,
    report: Report<'_>,
) -> io::Result<bool> {
    let Some(path) = cache.own_file(&plan.commit, &file.name, file.bytes) else {
        return Ok(false);
    };
    report(DownloadEvent::Verifying {
        file: &file.name,
        bytes: file.bytes,
    });
    if file.digest.of_file(&path, file.bytes)? == file.digest.hex() {
        // With a hard link as the blob, the next run does not read the file again.
        let _ = fs::hard_link(&path, cache.blob(file.digest.hex()));
        return Ok(true);
    }
    fs::remove_file(&path)?;
    Ok(false)
}

/// Returns `true` if a blob is complete. A blob gets its name when it is complete; the length is
/// checked because other tools write blobs too.
pub(crate) fn is_complete(blob: &Path, file: &HubFile) -> bool {
    fs::metadata(blob).is_ok_and(|found| found.is_file() && found.len() == file.bytes)
}
