//! What can go wrong between a name and a folder.

use std::path::PathBuf;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// No folder of that name anywhere.
    #[error("model `{name}` was not found; looked in:{}", list(looked))]
    NotFound {
        /// The name as given.
        name: String,
        /// Places, and why they would not do.
        looked: Vec<(PathBuf, &'static str)>,
        /// A known name that is close to this one.
        similar: Option<&'static str>,
    },
    /// The demo model could not be written to the disk.
    #[error("cannot write the demo model to `{}`", path.display())]
    Write {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

fn list(looked: &[(PathBuf, &'static str)]) -> String {
    looked.iter().map(|(path, why)| format!("\n  {} ({why})", path.display())).collect()
}

impl HubError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { similar: Some(similar), .. } => Some(format!("did you mean `{similar}`?")),
            Self::NotFound { name, .. } => {
                let id = if name.contains('/') { name.clone() } else { format!("fnlp/{name}") };
                Some(format!(
                    "this version does not download. Fetch it with the hub's own tool, `hf download {id}`, or put config.json, \
                     vocab.json, merges.txt, added_tokens.json and pytorch_model*.bin by hand into ./{id}; \
                     `--demo` talks at once, with a tiny model that comes with this program"
                ))
            }
            Self::Write { .. } => Some("set XDG_CACHE_HOME to a folder that can be written".into()),
        }
    }
}
