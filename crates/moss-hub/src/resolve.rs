//! Model name to folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Absence, HubError, Place, files,
    id::{KNOWN, ModelId, ORGANISATION, repos},
};

/// The default model.
pub const DEFAULT_MODEL: &str = "moss-moon-003-sft-int4";

/// The folders to search. The caller derives them from the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPlaces {
    /// The folder of `fnlp/NAME` or `NAME`.
    pub current_dir: PathBuf,
    /// The hub's cache, with its folders `models--ORGANISATION--NAME`.
    pub hub_cache: Option<PathBuf>,
}

/// A model's folder and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedModel {
    /// The last part of the name, such as `moss-moon-003-sft-int4`.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
}

impl ResolvedModel {
    /// Returns the first missing file that conversations need in addition to the weights: that of
    /// the tokenizer.
    pub fn missing_file(&self) -> Option<&'static str> {
        files::missing_for_conversation(&self.folder)
    }

    /// Returns the model in a folder. Its name is the folder's as given if that is a published
    /// name, else the folder's canonical name, which is more useful than `.` or a link.
    pub fn at(folder: PathBuf) -> Self {
        let last = |folder: &Path| Some(folder.file_name()?.to_str()?.to_owned());
        let given = last(&folder);
        let real = || folder.canonicalize().ok().as_deref().and_then(last);
        let name = given
            .clone()
            .filter(|name| KNOWN.contains(&name.as_str()))
            .or_else(real)
            .or(given);
        Self {
            name: name.unwrap_or_default(),
            folder,
        }
    }
}

impl ModelId {
    /// Reads `ORGANISATION/NAME`, or a published checkpoint's short name.
    ///
    /// # Errors
    /// [`HubError::BadId`] for anything else, so an id is safe as a part of a path and of an
    /// address.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        Self::read(text).ok_or_else(|| HubError::BadId {
            id: text.to_owned(),
        })
    }
}

/// Finds a model: a path that exists; a bare name in `./fnlp/NAME`, `./NAME`, and the hub's cache,
/// in this order.
///
/// # Errors
/// [`HubError::NotFound`] with every place that was searched.
pub fn resolve(name: &str, places: &SearchPlaces) -> Result<ResolvedModel, HubError> {
    let short = Path::new(name)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or(name)
        .to_owned();
    let mut looked = Vec::new();
    // A bare name is searched in `fnlp` first; anything else may be a path.
    if Path::new(name).components().count() != 1 || name.starts_with('.') {
        let path = places.current_dir.join(name);
        if path.exists() {
            return Ok(ResolvedModel::at(path));
        }
        looked.push(Place {
            path,
            why: Absence::NotFound,
        });
    }
    // A hub id is ORGANISATION/NAME; anything with more or other parts is a path.
    let (organisation, repository) = match name.split_once('/') {
        Some((organisation, repository)) if ModelId::read(name).is_some() => {
            (organisation, repository)
        }
        Some(_) => {
            return Err(HubError::NotFound {
                name: name.to_owned(),
                looked,
                similar: None,
                id: None,
            });
        }
        None => (ORGANISATION, name),
    };
    for folder in [
        places.current_dir.join(ORGANISATION).join(repository),
        places.current_dir.join(repository),
    ] {
        if looked.iter().any(|place: &Place| place.path == folder) {
            continue;
        }
        if folder.is_dir() {
            return Ok(ResolvedModel::at(folder));
        }
        looked.push(Place {
            path: folder,
            why: Absence::NotFound,
        });
    }
    if let Some(cache) = &places.hub_cache {
        for repo in repos(organisation, repository) {
            let folder = cache.join(repo.folder_name());
            match snapshot(&folder) {
                Ok(snapshot) => {
                    return Ok(ResolvedModel {
                        name: short,
                        folder: snapshot,
                    });
                }
                Err(why) => looked.push(Place { path: folder, why }),
            }
        }
    }
    let similar = nearest(repository).filter(|near| *near != repository);
    Err(HubError::NotFound {
        name: name.to_owned(),
        looked,
        similar,
        id: id_of(name),
    })
}

/// Returns the hub id of the model of this name; a path has none.
fn id_of(name: &str) -> Option<String> {
    let known = || ModelId::read(&format!("{ORGANISATION}/{name}"));
    let id = ModelId::read(name).or_else(known)?;
    Some(id.to_string())
}

/// Returns the snapshot of `main`, else the newest one; only complete snapshots count.
pub(crate) fn snapshot(repository: &Path) -> Result<PathBuf, Absence> {
    if !repository.is_dir() {
        return Err(Absence::NotFound);
    }
    let snapshots = repository.join("snapshots");
    let is_complete = |folder: &PathBuf| files::is_complete(folder);
    if let Ok(main) = moss_files::read_text(&repository.join("refs/main"), 4096) {
        let folder = snapshots.join(main.trim());
        if is_complete(&folder) {
            return Ok(folder);
        }
    }
    let entries = fs::read_dir(&snapshots).map_err(|_| Absence::NoSnapshot)?;
    let folders = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(is_complete);
    let age = |folder: &PathBuf| fs::metadata(folder).and_then(|data| data.modified()).ok();
    folders.max_by_key(age).ok_or(Absence::NoCompleteSnapshot)
}

/// Returns the most similar published name, at most three edits away.
fn nearest(name: &str) -> Option<&'static str> {
    KNOWN
        .into_iter()
        .map(|known| (edits(name, known), known))
        .min()
        .filter(|(edits, _)| *edits <= 3)
        .map(|(_, known)| known)
}

/// Returns the Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
