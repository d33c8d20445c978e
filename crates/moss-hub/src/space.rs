//! Whether a download fits the disk, asked before its first byte.

use std::path::Path;

use crate::HubError;

/// What is left free for everybody else.
const RESERVE: u64 = 64 << 20;

/// # Errors
/// [`HubError::Space`].
pub(crate) fn check(folder: &Path, needed: u64) -> Result<(), HubError> {
    let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let free = fs4::available_space(existing)
        .map_err(|source| HubError::Disk { path: existing.to_owned(), source })?;
    if needed > 0 && needed.saturating_add(RESERVE) > free {
        return Err(HubError::Space { path: existing.to_owned(), needed, free });
    }
    Ok(())
}
