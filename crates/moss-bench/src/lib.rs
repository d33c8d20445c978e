//! Measurements of the kernels: parity of the GPU kernels with the CPU's, and the time that each
//! takes by itself.
//!
//! The functions compile without the feature `cuda` too, and return
//! [`moss_weights::KernelError::NotCompiled`] then.

mod devices;
#[cfg(feature = "cuda")]
mod fixture;
pub mod kernel_timing;
pub mod parity;

pub use devices::{DeviceReport, devices};
