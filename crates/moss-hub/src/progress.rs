//! What a download tells while it runs.

use std::time::Duration;

use crate::{Fault, Fetched};

/// A step of a download; they come from several threads.
#[derive(Debug)]
#[non_exhaustive]
pub enum DownloadEvent<'a> {
    /// Another process has the file; this one waits for it.
    Waiting {
        /// Its name.
        file: &'a str,
    },
    /// A file begins, or goes on.
    Started {
        /// Its name.
        file: &'a str,
        /// Its length.
        bytes: u64,
        /// Of which so many are there.
        done: u64,
    },
    /// So many more bytes are on the disk.
    Advanced {
        /// Since the last event of the kind.
        bytes: u64,
    },
    /// A request failed and will be made again.
    Retrying {
        /// What was asked for.
        file: &'a Fetched,
        /// What was wrong.
        fault: &'a Fault,
        /// How long it waits.
        wait: Duration,
    },
    /// All bytes are there; they are read once more for their hash.
    Verifying {
        /// The file.
        file: &'a str,
        /// Its length.
        bytes: u64,
    },
    /// The file is whole and in its place.
    Finished {
        /// The file.
        file: &'a str,
        /// Its length.
        bytes: u64,
    },
}

/// Where events go.
pub type Report<'a> = &'a (dyn Fn(DownloadEvent<'_>) + Sync);
