//! Progress events of finding and loading a model.

use std::path::Path;

use moss_checkpoint::Warning;
#[cfg(feature = "hub")]
use moss_hub::DownloadEvent;
use moss_model::LoadEvent;

/// An event of [`Builder`](crate::Builder) or [`Found`](crate::Found).
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildEvent<'a> {
    /// Another tool downloaded the model in part.
    #[cfg(feature = "hub")]
    Incomplete {
        /// Name of the model, as it was given.
        name: &'a str,
        /// The first file that is missing.
        missing: &'a str,
    },
    /// A download begins, or continues.
    #[cfg(feature = "hub")]
    DownloadStarted {
        /// Bytes that are on the disk already.
        done: u64,
        /// Bytes of all files.
        bytes: u64,
    },
    /// Progress of a download; it may come from any thread.
    #[cfg(feature = "hub")]
    Download(DownloadEvent<'a>),
    /// A download is complete, or failed.
    #[cfg(feature = "hub")]
    DownloadEnded,
    /// The model was found.
    Found {
        /// Its short name.
        name: &'a str,
        /// Its folder.
        folder: &'a Path,
    },
    /// The checkpoint is unusual, and can be used.
    Warning(&'a Warning),
    /// Progress of loading the weights.
    Load(LoadEvent),
}

type Receive = Box<dyn FnMut(BuildEvent<'_>) + Send>;

/// Receives events.
#[derive(Default)]
pub(crate) struct Listener(Option<Receive>);

impl Listener {
    pub(crate) fn new(listener: impl FnMut(BuildEvent<'_>) + Send + 'static) -> Self {
        Self(Some(Box::new(listener)))
    }

    pub(crate) fn tell(&mut self, event: BuildEvent<'_>) {
        if let Some(listener) = &mut self.0 {
            listener(event);
        }
    }
}
