//! Model name to local folder: where checkpoints are looked for, how they are downloaded, and the
//! demo model that comes with the program.
//!
//! A download goes into the hub's standard cache, shared with the Python tools, by a ranged client
//! of our own: parts on the disk with a journal, so that an interrupted download continues at any
//! byte. Repository names and cache paths are those of `hf-hub` 0.5 without its features. Its
//! transfer is not used: 0.5.0 appends to partial files unchecked and never hashes them, 1.0.0
//! begins interrupted files anew.
//!
//! Weights are not parsed here.
//!
//! Features: `download` for the client of hubs, `demo` for the demo model. Without them the crate
//! resolves names, and has no dependency that connects to anything.

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
mod part;
#[cfg(feature = "download")]
mod progress;
mod resolve;
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
pub use endpoint::{HubSettings, Patience, Source};
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
