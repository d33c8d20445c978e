//! From a model's name to a plan, and from a plan to a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use crate::{
    DownloadEvent, HubError, HubFile, HubSettings, ModelId, Patience, Report,
    cache::ModelCache,
    endpoint::Source,
    fault::shown,
    files,
    http::Http,
    listing::{self, Listing},
    part::{self, Part},
    retry::{self, Retries},
    space,
    transfer::Transfer,
};

const LISTING_ATTEMPTS: u32 = 4;

/// A hub, ready to be asked.
pub struct Hub {
    settings: HubSettings,
    http: Http,
}

/// What a download would bring.
#[derive(Debug)]
pub struct DownloadPlan {
    /// The model.
    pub id: ModelId,
    /// The address that was asked.
    pub endpoint: String,
    /// As the hub has it, such as `agpl-3.0`.
    pub license: Option<String>,
    /// Where it will lie.
    pub folder: PathBuf,
    /// What the engine needs, small files first.
    pub files: Vec<HubFile>,
    /// Bytes of them that are on the disk already.
    pub bytes_done: u64,
    commit: String,
}

impl DownloadPlan {
    /// All files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// What will be fetched.
    pub fn bytes_missing(&self) -> u64 {
        self.bytes().saturating_sub(self.bytes_done)
    }
}

impl Hub {
    /// Opens no connection yet.
    ///
    /// # Errors
    /// [`HubError::BadEndpoint`], [`HubError::BadProxy`].
    pub fn new(settings: HubSettings) -> Result<Self, HubError> {
        Ok(Self { http: Http::new(&settings)?, settings })
    }

    /// Asks what a model consists of.
    ///
    /// # Errors
    /// [`HubError::Offline`], [`HubError::Transfer`], [`HubError::Listing`], [`HubError::Incomplete`].
    pub fn plan(&self, id: &ModelId, report: Report<'_>) -> Result<DownloadPlan, HubError> {
        let Listing { commit, license, files } = self.list(id, report)?;
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        let endpoint = shown(self.http.base());
        let chosen = files::choose(&names).map_err(|missing| HubError::Incomplete {
            id: id.to_string(),
            endpoint: endpoint.clone(),
            missing,
        })?;
        let mut files: Vec<_> =
            files.iter().filter(|file| chosen.contains(&file.name.as_str())).cloned().collect();
        files.sort_by_key(|file| file.bytes);
        let cache = ModelCache::new(&self.settings.cache, id);
        let done = |file: &HubFile| {
            let blob = cache.blob(file.digest.hex());
            if is_there(&blob, file) { file.bytes } else { part::bytes_done(&blob, file.bytes) }
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

    /// Fetches what is missing and returns the folder. What is interrupted goes on the next time.
    ///
    /// # Errors
    /// [`HubError::Space`] before the first byte; [`HubError::Transfer`], [`HubError::Hash`], [`HubError::Disk`]; [`HubError::Incomplete`] where the
    /// index of the weights, once here, names a file that the listing does not have.
    pub fn download(&self, plan: &DownloadPlan, report: Report<'_>) -> Result<PathBuf, HubError> {
        space::check(&self.settings.cache, plan.bytes_missing())?;
        let cache = ModelCache::new(&self.settings.cache, &plan.id);
        let disk = |source| HubError::Disk { path: plan.folder.clone(), source };
        cache.create(&plan.commit).map_err(disk)?;
        for file in &plan.files {
            let hash = file.digest.hex();
            let lock = cache.lock(hash, || report(DownloadEvent::Waiting { file: &file.name }));
            let lock = lock.map_err(disk)?;
            let blob = cache.blob(hash);
            if !is_there(&blob, file) {
                self.fetch(file, &blob, report)?;
            }
            drop(lock);
            cache.link(&plan.commit, &file.name, hash).map_err(disk)?;
        }
        if !files::is_whole(&plan.folder) {
            let missing = "weight file that its index speaks of".to_owned();
            return Err(HubError::Incomplete {
                id: plan.id.to_string(),
                endpoint: plan.endpoint.clone(),
                missing,
            });
        }
        // The other hub has no commits that the Python tools could look up.
        let reference = match self.settings.source {
            Source::HuggingFace => "main",
            Source::ModelScope => "modelscope",
        };
        cache.refer(reference, &plan.commit).map_err(disk)?;
        Ok(plan.folder.clone())
    }

    fn list(&self, id: &ModelId, report: Report<'_>) -> Result<Listing, HubError> {
        if self.settings.offline {
            return Err(HubError::Offline { id: id.to_string() });
        }
        let (source, base) = (self.settings.source, self.http.base());
        let bad = |reason| HubError::Listing { url: shown(base), id: id.to_string(), reason };
        let url = listing::address(source, base, id).map_err(|error| bad(error.to_string()))?;
        // Somebody waits for this answer, and nothing would be lost: shorter than for bytes.
        let patience = self.settings.patience;
        let patience = Patience { attempts: patience.attempts.min(LISTING_ATTEMPTS), ..patience };
        let mut retries = Retries::new(&patience);
        let text = loop {
            let failure = match self.http.text(&url) {
                Ok(text) => break text,
                Err(failure) => failure,
            };
            let file = "list of files";
            let Some(wait) = retries.pause(&failure) else {
                return Err(HubError::transfer(file, failure, retries.failures()));
            };
            report(DownloadEvent::Retrying { file, fault: &failure.fault, wait });
            retry::sleep(wait, &AtomicBool::new(false));
        };
        listing::read(source, base, id, &text).map_err(bad)
    }

    /// Fetches one file; `blob` appears whole or not at all.
    fn fetch(&self, file: &HubFile, blob: &Path, report: Report<'_>) -> Result<(), HubError> {
        let disk = |source: io::Error| HubError::Disk { path: blob.to_owned(), source };
        let part = Part::open(blob, file.bytes).map_err(disk)?;
        let done = part::bytes_done(blob, file.bytes);
        report(DownloadEvent::Started { file: &file.name, bytes: file.bytes, done });
        let (http, settings, stop) = (&self.http, &self.settings, AtomicBool::new(false));
        Transfer { http, settings, file, part: &part, report, stop }.run()?;
        report(DownloadEvent::Verifying { file: &file.name, bytes: file.bytes });
        let found = file.digest.of_file(part.data(), file.bytes).map_err(disk)?;
        if found != file.digest.hex() {
            part.discard().map_err(disk)?;
            let (name, expected) = (file.name.clone(), file.digest.hex().to_owned());
            return Err(HubError::Hash { file: name, url: shown(&file.url), found, expected });
        }
        part.finish(blob).map_err(disk)?;
        report(DownloadEvent::Finished { file: &file.name, bytes: file.bytes });
        Ok(())
    }
}

/// A blob gets its name only when it is whole; its length is looked at for what others may have put there.
fn is_there(blob: &Path, file: &HubFile) -> bool {
    fs::metadata(blob).is_ok_and(|found| found.is_file() && found.len() == file.bytes)
}
