//! The check of free disk space before a download.

use std::{io, path::Path};

use crate::HubError;

/// Bytes that must remain free.
const RESERVE: u64 = 64 << 20;

/// The disk space that a download needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Bytes of missing blobs.
    pub(crate) blobs: u64,
    /// Bytes of copies in snapshots, on a file system without links.
    pub(crate) copies: u64,
}

/// Checks the free space, with [`HubError::Space`].
pub(crate) fn check(folder: &Path, demand: Demand) -> Result<(), HubError> {
    check_with(folder, demand, |path| fs4::available_space(path))
}

fn check_with(
    folder: &Path,
    Demand { blobs, copies }: Demand,
    free: impl Fn(&Path) -> io::Result<u64>,
) -> Result<(), HubError> {
    let existing = folder
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("."));
    let free = free(existing).map_err(|source| HubError::Disk {
        path: existing.to_owned(),
        source,
    })?;
    let needed = blobs.saturating_add(copies);
    if needed > 0 && needed.saturating_add(RESERVE) > free {
        return Err(HubError::Space {
            path: existing.to_owned(),
            needed,
            free,
            copies,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_counted_on_top_of_what_is_downloaded() {
        let folder = std::env::temp_dir();
        let room =
            |blobs, copies, free| check_with(&folder, Demand { blobs, copies }, |_| Ok(free));
        let gb = 1 << 30;
        assert!(room(10 * gb, 0, 11 * gb).is_ok());
        assert!(matches!(
            room(10 * gb, 10 * gb, 11 * gb),
            Err(HubError::Space { needed, copies, .. }) if needed == 20 * gb && copies == 10 * gb
        ));
        assert!(room(10 * gb, 10 * gb, 21 * gb).is_ok());
        assert!(room(0, 0, 0).is_ok(), "nothing to download needs no room");
        assert!(room(u64::MAX, u64::MAX, u64::MAX - 1).is_err());
    }
}
