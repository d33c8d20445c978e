//! Errors of resolving names and of downloads.

use std::path::PathBuf;

use moss_messages::Message;

#[cfg(feature = "download")]
use crate::{Fault, fault::Failure};

/// A place that was searched for a model.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub struct Place {
    /// The folder.
    pub path: PathBuf,
    /// The reason why it was not used.
    pub why: Absence,
}

/// A reason why a place has no model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum Absence {
    /// The folder does not exist.
    NotFound,
    /// A folder of the cache without snapshots.
    NoSnapshot,
    /// A folder of the cache whose snapshots lack files.
    NoCompleteSnapshot,
}

/// A fault of a hub's address.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub enum EndpointFault {
    /// It is not a URL; with the parser's message.
    Url(String),
    /// It has this scheme.
    Scheme(String),
}

/// A fault of a hub's list of files.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub enum ListingFault {
    /// It cannot be parsed; with the parser's message.
    Parse(String),
    /// Its revision, which is not a commit.
    Revision(String),
    /// It has no files; with the hub's message.
    NoFiles(String),
}

/// A file that a repository lacks.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub enum MissingFile {
    /// The file of this name.
    Named(String),
    /// Any file of weights.
    Weights,
    /// A file that the index of the weights names.
    IndexedShard,
}

/// An object that is fetched from a hub.
#[cfg(feature = "download")]
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(display)]
pub enum Fetched {
    /// The list of files.
    Listing,
    /// The file of this name.
    File(String),
}

/// Errors of this crate.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum HubError {
    /// No place has a model of this name.
    NotFound {
        /// The name as given.
        name: String,
        /// The places that were searched.
        #[message(lines)]
        looked: Vec<Place>,
        /// A known name that is close to this one.
        similar: Option<&'static str>,
        /// The hub id of the model; a path has none.
        id: Option<String>,
    },
    /// The demo model cannot be written to the disk.
    Write {
        /// File or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A name that is not a hub id.
    BadId {
        /// As given.
        id: String,
    },
    /// The model must be downloaded, and the settings forbid connections.
    Offline {
        /// The model.
        id: String,
    },
    /// An invalid address of a hub.
    BadEndpoint {
        /// As given.
        endpoint: String,
        /// The fault.
        reason: EndpointFault,
    },
    /// An invalid address of a proxy. It is not shown, because it may contain a password.
    BadProxy {
        /// The message of the HTTP library.
        reason: String,
    },
    /// The hub's response is not a list of files.
    Listing {
        /// The hub.
        url: String,
        /// The model.
        id: String,
        /// The fault.
        reason: ListingFault,
    },
    /// A repository without a file that the engine needs.
    Incomplete {
        /// The model.
        id: String,
        /// The hub.
        endpoint: String,
        /// The first missing file.
        missing: MissingFile,
    },
    /// An object that cannot be fetched.
    #[cfg(feature = "download")]
    Transfer {
        /// The object.
        file: Fetched,
        /// The address of the last attempt, after redirects.
        url: String,
        /// The number of failed attempts.
        attempts: u32,
        /// The error of the last one.
        #[source]
        #[message(cause)]
        fault: Fault,
    },
    /// A complete file whose hash is wrong.
    Hash {
        /// Its name.
        file: String,
        /// Its address.
        url: String,
        /// The hash of the file.
        found: String,
        /// The hash in the hub's listing.
        expected: String,
    },
    /// The disk has too little free space.
    Space {
        /// A folder on that disk.
        path: PathBuf,
        /// Bytes that the download needs.
        needed: u64,
        /// Free bytes.
        free: u64,
        /// The share of `needed` for copies, because the file system has no links.
        copies: u64,
    },
    /// The cache cannot be read or written.
    Disk {
        /// File or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

impl HubError {
    #[cfg(feature = "download")]
    pub(crate) fn transfer(file: Fetched, failure: Failure, attempts: u32) -> Self {
        Self::Transfer {
            file,
            url: failure.url,
            attempts,
            fault: failure.fault,
        }
    }
}
