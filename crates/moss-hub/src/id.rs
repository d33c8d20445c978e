//! Names of models on a hub.

use std::fmt;

/// The organisation that published the checkpoints.
pub(crate) const ORGANISATION: &str = "fnlp";

/// What the hub calls it today; the old name redirects. The Python tools keep a download under the
/// name that was typed.
pub(crate) const RENAMED: &str = "OpenMOSS-Team";

/// The published checkpoints' short names.
pub(crate) const KNOWN: [&str; 7] = [
    "moss-moon-003-base",
    "moss-moon-003-sft",
    "moss-moon-003-sft-int4",
    "moss-moon-003-sft-int8",
    "moss-moon-003-sft-plugin",
    "moss-moon-003-sft-plugin-int4",
    "moss-moon-003-sft-plugin-int8",
];

/// `ORGANISATION/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelId {
    organisation: String,
    name: String,
}

impl ModelId {
    /// Reads `ORGANISATION/NAME`, or a published checkpoint's short name. Returns `None` for anything
    /// else: what comes out is safe as a part of a path and of an address.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let is_part = |part: &str| {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !part.is_empty()
                && !part.starts_with('.')
                && !part.contains("..")
                && part.bytes().all(legal)
        };
        let (organisation, name) = match text.split_once('/') {
            Some(parts) => parts,
            None if KNOWN.contains(&text) => (ORGANISATION, text),
            None => return None,
        };
        (is_part(organisation) && is_part(name)).then(|| Self {
            organisation: organisation.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Returns `true` for the published checkpoints, under the organisation's old or new name.
    pub fn is_known(&self) -> bool {
        [ORGANISATION, RENAMED].contains(&self.organisation.as_str())
            && KNOWN.contains(&self.name.as_str())
    }

    /// Returns the name without the organisation.
    #[cfg(feature = "download")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its folder in the hub's cache, and the one that the Python tools use under the
    /// organisation's new name.
    #[cfg(feature = "download")]
    pub(crate) fn cache_folders(&self) -> Vec<String> {
        let renamed = Some(RENAMED).filter(|_| self.organisation == ORGANISATION);
        let organisations = [Some(self.organisation.as_str()), renamed]
            .into_iter()
            .flatten();
        organisations
            .map(|organisation| format!("models--{organisation}--{}", self.name))
            .collect()
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.organisation, self.name)
    }
}
