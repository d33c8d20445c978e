//! Names of models on a hub.

use std::fmt;

use crate::{HubError, endpoint::Source};

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
    /// Reads `ORGANISATION/NAME`, or a published checkpoint's short name.
    ///
    /// # Errors
    /// [`HubError::BadId`] for anything else: what comes out is safe as a part of a path and of an
    /// address.
    pub fn parse(text: &str) -> Result<Self, HubError> {
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
            None => {
                return Err(HubError::BadId {
                    id: text.to_owned(),
                });
            }
        };
        if !is_part(organisation) || !is_part(name) {
            return Err(HubError::BadId {
                id: text.to_owned(),
            });
        }
        Ok(Self {
            organisation: organisation.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Returns `true` for the published checkpoints, under the organisation's old or new name.
    pub fn is_known(&self) -> bool {
        [ORGANISATION, RENAMED].contains(&self.organisation.as_str())
            && KNOWN.contains(&self.name.as_str())
    }

    /// What a hub calls it. ModelScope keeps its copies of the published checkpoints under a name
    /// of its own.
    pub(crate) fn on(&self, source: Source) -> String {
        match source {
            Source::ModelScope if self.is_known() => format!("AI-ModelScope/{}", self.name),
            _ => self.to_string(),
        }
    }

    /// Its folder in the hub's cache, and the one that the Python tools use under the
    /// organisation's new name.
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
