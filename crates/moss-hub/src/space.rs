//! Whether a download fits the disk, asked before its first byte.

use std::{io, path::Path};

use crate::HubError;

/// What is left free for everybody else.
const RESERVE: u64 = 64 << 20;

/// What a download takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Bytes that the cache still lacks.
    pub(crate) blobs: u64,
    /// Bytes of the copies that snapshots hold where the file system has no links.
    pub(crate) copies: u64,
}

/// # Errors
/// [`HubError::Space`].
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
