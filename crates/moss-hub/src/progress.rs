//! Progress events of a download.

use std::time::Duration;

use crate::{Fault, Fetched};

/// An event of a download. Several threads send events.
#[derive(Debug)]
#[non_exhaustive]
pub enum DownloadEvent<'a> {
    /// Another process is downloading the file; this one waits for it.
    Waiting {
        /// Its name.
        file: &'a str,
    },
    /// The download of a file starts or resumes.
    Started {
        /// Its name.
        file: &'a str,
        /// Its length.
        bytes: u64,
        /// The bytes on disk.
        done: u64,
    },
    /// Bytes were written to the disk.
    Advanced {
        /// Their number since the previous event.
        bytes: u64,
    },
    /// A request has failed and will be retried.
    Retrying {
        /// The requested object.
        file: &'a Fetched,
        /// The error.
        fault: &'a Fault,
        /// The pause before the retry.
        wait: Duration,
    },
    /// All bytes are on disk; the hash of the file is checked.
    Verifying {
        /// The file.
        file: &'a str,
        /// Its length.
        bytes: u64,
    },
    /// The file is complete.
    Finished {
        /// The file.
        file: &'a str,
        /// Its length.
        bytes: u64,
    },
}

/// Receives progress events.
pub type Report<'a> = &'a (dyn Fn(DownloadEvent<'_>) + Sync);
