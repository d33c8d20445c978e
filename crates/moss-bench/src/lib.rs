//! Measurements: parity of the GPU kernels with the CPU's, times of kernels and models, predictions
//! from bytes and operations, and the comparison of a model with expected values.
//!
//! Without the feature `cuda`, the functions that need GPU kernels return
//! [`moss_weights::KernelError::NotCompiled`].

mod arrival;
pub mod batch;
pub mod concurrency;
mod devices;
pub mod draft_timing;
mod error;
#[cfg(feature = "cuda")]
mod fixture;
pub mod hardware;
pub mod kernel_timing;
mod load_timing;
pub mod model_timing;
pub mod parity;
mod prompts;
mod quantiles;
pub mod reuse;
pub mod roofline;
pub mod verify;

pub use arrival::{Arrival, STREAM_TOKENS};
pub use devices::{DeviceReport, devices};
pub use error::BenchError;
pub use load_timing::LoadTimer;
pub use quantiles::Quantiles;
