//! Model name to local folder: where checkpoints are looked for, how they are downloaded, and the
//! demo model that comes with the program.
//!
//! A download goes into the hub's standard cache, shared with the Python tools, by a ranged client
//! of our own: parts on the disk with a journal, so that what was interrupted at any byte goes on
//! there. `hf-hub` 1.0 is not used: its cache layout and locks are private, it takes the
//! environment's token where it is given none, begins interrupted files anew, and brings a second
//! transfer service that mirrors do not have.
//!
//! Weights are not parsed here.

mod cache;
mod demo;
mod digest;
mod download;
mod endpoint;
mod error;
mod fault;
mod files;
mod http;
mod id;
mod listing;
mod part;
mod progress;
mod resolve;
mod retry;
mod space;
mod transfer;
mod verify;

pub use demo::{DEMO_NAME, DemoFormat, unpack_demo};
pub use digest::Digest;
pub use download::{DownloadPlan, Hub};
pub use endpoint::{HubSettings, Patience, Source};
pub use error::{Absence, EndpointFault, Fetched, HubError, ListingFault, MissingFile, Place};
pub use fault::{Fault, UnreachableReason};
pub use id::ModelId;
pub use listing::HubFile;
pub use progress::{DownloadEvent, Report};
pub use resolve::{DEFAULT_MODEL, ResolvedModel, SearchPlaces, resolve};
pub use verify::{Damage, DamagedFile, Verification};
