//! The names in a model's snapshots.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{Digest, HubError};

/// A name in a snapshot.
pub(super) struct Entry {
    pub(super) commit: String,
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The target of a symbolic link.
    pub(super) target: Option<PathBuf>,
}

/// All names of all snapshots.
pub(super) struct Entries(pub(super) Vec<Entry>);

impl Entries {
    pub(super) fn of(model: &Path) -> Result<Self, HubError> {
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
            let is_folder = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
            // Git has no empty folders, so an empty folder replaces a file.
            if is_folder && !names(&path)?.is_empty() {
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

/// Returns the name of the blob that a link resolves to, if the name is a hash. Blobs may themselves
/// be links to another disk.
pub(super) fn blob_of(entry: &Path, blobs: &Path) -> Option<String> {
    const MAX_LINKS: usize = 40; // as in Linux
    let blobs = fs::canonicalize(blobs).ok()?;
    let mut path = entry.to_owned();
    for _ in 0..MAX_LINKS {
        let folder = fs::canonicalize(path.parent()?).ok()?;
        path = folder.join(fs::read_link(&path).ok()?);
        if fs::canonicalize(path.parent()?).ok()? == blobs {
            let name = path.file_name()?.to_str()?;
            return Digest::parse(name).map(|_| name.to_owned());
        }
    }
    None
}

/// Returns `true` for the name of a link or copy that an interrupted run of this program has left:
/// `.NAME.PROCESS`.
pub(super) fn is_staged(name: &str) -> bool {
    let process = name
        .strip_prefix('.')
        .and_then(|name| name.rsplit_once('.'));
    process.is_some_and(|(_, id)| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns the names in a folder, in order; none if the folder does not exist.
pub(super) fn names(folder: &Path) -> Result<BTreeSet<String>, HubError> {
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
