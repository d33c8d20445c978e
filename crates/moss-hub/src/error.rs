//! What can go wrong between a name and a folder.

use std::path::PathBuf;

use moss_messages::Message;

#[cfg(feature = "download")]
use crate::{Fault, fault::Failure};

/// A place where a model was looked for.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub struct Place {
    /// The folder.
    pub path: PathBuf,
    /// Why it would not do.
    pub why: Absence,
}

/// Why a place has no model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum Absence {
    /// There is no such folder.
    NotFound,
    /// A folder of the cache without snapshots.
    NoSnapshot,
    /// A folder of the cache whose snapshots lack files.
    NoCompleteSnapshot,
}

/// What is wrong with the address of a hub.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub enum EndpointFault {
    /// It is not a URL, for this reason.
    Url(String),
    /// Its scheme is this one.
    Scheme(String),
}

/// What is wrong with a hub's list of files.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub enum ListingFault {
    /// It cannot be parsed, for this reason.
    Parse(String),
    /// Its revision is not a commit.
    Revision(String),
    /// It has no files, and this message.
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

/// What is fetched from a hub.
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
    /// No folder of that name anywhere.
    NotFound {
        /// The name as given.
        name: String,
        /// Places, and why they would not do.
        #[message(lines)]
        looked: Vec<Place>,
        /// A known name that is close to this one.
        similar: Option<&'static str>,
        /// What a hub would call the model; a path has no such id.
        id: Option<String>,
    },
    /// The demo model could not be written to the disk.
    Write {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A name that no hub has.
    BadId {
        /// As given.
        id: String,
    },
    /// The caller wants no connection.
    Offline {
        /// The model.
        id: String,
    },
    /// An address that is none.
    BadEndpoint {
        /// As given.
        endpoint: String,
        /// What is wrong with it.
        reason: EndpointFault,
    },
    /// A proxy's address that is none; not shown, it may hold a password.
    BadProxy {
        /// What is wrong with it.
        reason: String,
    },
    /// The hub's answer is no list of files.
    Listing {
        /// The hub.
        url: String,
        /// The model.
        id: String,
        /// What is wrong with it.
        reason: ListingFault,
    },
    /// A repository that the engine cannot run.
    Incomplete {
        /// The model.
        id: String,
        /// The hub.
        endpoint: String,
        /// The first file that is needed and not there.
        missing: MissingFile,
    },
    /// A file that did not come.
    #[cfg(feature = "download")]
    Transfer {
        /// What was asked for.
        file: Fetched,
        /// Where the last attempt ended, after redirects.
        url: String,
        /// Attempts in vain.
        attempts: u32,
        /// The last one's.
        #[source]
        #[message(cause)]
        fault: Fault,
    },
    /// All bytes came, and they are not the file's.
    Hash {
        /// Its name.
        file: String,
        /// Where it came from.
        url: String,
        /// Of what came.
        found: String,
        /// Of the hub's listing.
        expected: String,
    },
    /// The disk is too small.
    Space {
        /// A folder on that disk.
        path: PathBuf,
        /// What is to be fetched.
        needed: u64,
        /// What is free.
        free: u64,
        /// Part of `needed` that goes to copies, because the file system has no links.
        copies: u64,
    },
    /// The cache cannot be used.
    Disk {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
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
