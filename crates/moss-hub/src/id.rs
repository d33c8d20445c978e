//! Names of models on a hub.

use std::fmt;

use hf_hub::Repo;

/// The organisation that published the checkpoints.
pub(crate) const ORGANISATION: &str = "fnlp";

/// The current name of that organisation. The old name redirects. The Python tools store a download
/// under the name that the user typed.
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
    /// else, so an id is safe as a part of a path and of an address.
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

    /// Returns the repository of this name.
    #[cfg(feature = "download")]
    pub(crate) fn repo(&self) -> Repo {
        Repo::model(self.to_string())
    }

    /// Returns the repositories under which the Python tools may store a download.
    #[cfg(feature = "download")]
    pub(crate) fn repos(&self) -> impl Iterator<Item = Repo> {
        repos(&self.organisation, &self.name)
    }
}

/// Returns the repositories of a model: that of the organisation as it was typed, and that of its
/// new name if it has one.
pub(crate) fn repos(organisation: &str, name: &str) -> impl Iterator<Item = Repo> {
    let renamed = Some(RENAMED).filter(|_| organisation == ORGANISATION);
    [Some(organisation), renamed]
        .into_iter()
        .flatten()
        .map(move |organisation| Repo::model(format!("{organisation}/{name}")))
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.organisation, self.name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn cache_folders_are_those_of_the_python_tools() {
        for name in KNOWN {
            let id = ModelId::parse(name).unwrap();
            let folders: Vec<_> = repos(&id.organisation, &id.name)
                .map(|repo| repo.folder_name())
                .collect();
            let expected =
                ["fnlp", "OpenMOSS-Team"].map(|owner| format!("models--{owner}--{name}"));
            assert_eq!(folders, expected);
        }
        let folders: Vec<_> = repos("my-org", "My.Model_1").collect();
        assert_eq!(folders.len(), 1);
        assert_eq!(folders[0].folder_name(), "models--my-org--My.Model_1");
    }
}
