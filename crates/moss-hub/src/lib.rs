//! Model name to local folder: search for checkpoints, downloads from hubs, and the demo model in
//! the binary.
//!
//! A download goes into the hub's standard cache, which the Python tools share. Files are fetched
//! in ranges over several connections, and a journal records the ranges on disk, so an interrupted
//! download resumes at any byte. Repository names and cache paths are those of `hf-hub` 0.5 without
//! its features. Its transfer is not used: 0.5.0 appends to partial files unchecked and never
//! hashes them, and 1.0.0 restarts interrupted files.
//!
//! This crate does not parse weights.
//!
//! Features: `download` for the client of hubs, `demo` for the demo model. Without them, the crate
//! only resolves names and has no network dependency.

#[cfg(feature = "download")]
mod cache;
#[cfg(feature = "demo")]
mod demo;
#[cfg(feature = "download")]
mod digest;
#[cfg(feature = "download")]
mod download;
#[cfg(feature = "download")]
mod endpoint;
mod error;
#[cfg(feature = "download")]
mod fault;
mod files;
#[cfg(feature = "download")]
mod http;
mod id;
#[cfg(feature = "download")]
mod listing;
#[cfg(feature = "download")]
mod partial_file;
#[cfg(feature = "download")]
mod progress;
mod resolve;
#[cfg(feature = "download")]
mod response;
#[cfg(feature = "download")]
mod retry;
#[cfg(feature = "download")]
mod space;
#[cfg(feature = "download")]
mod transfer;
#[cfg(feature = "download")]
mod verify;

#[cfg(feature = "demo")]
pub use demo::{DEMO_NAME, DemoFormat, unpack_demo};
#[cfg(feature = "download")]
pub use digest::Digest;
#[cfg(feature = "download")]
pub use download::{DownloadPlan, Hub};
#[cfg(feature = "download")]
pub use endpoint::{HubSettings, Source, Timeouts};
#[cfg(feature = "download")]
pub use error::Fetched;
pub use error::{Absence, EndpointFault, HubError, ListingFault, MissingFile, Place};
#[cfg(feature = "download")]
pub use fault::{Fault, UnreachableReason};
pub use id::ModelId;
#[cfg(feature = "download")]
pub use listing::HubFile;
#[cfg(feature = "download")]
pub use progress::{DownloadEvent, Report};
pub use resolve::{DEFAULT_MODEL, ResolvedModel, SearchPlaces, resolve};
#[cfg(feature = "download")]
pub use verify::{Damage, DamagedFile, Verification};
