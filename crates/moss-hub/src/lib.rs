//! Model name to local folder: where checkpoints are looked for, and the demo model that comes with the program.
//!
//! Nothing is downloaded yet. Weights are not parsed here.

mod demo;
mod error;
mod resolve;

pub use demo::{DEMO_NAME, DemoFormat, unpack_demo};
pub use error::HubError;
pub use resolve::{DEFAULT_MODEL, ResolvedModel, SearchPlaces, resolve};
