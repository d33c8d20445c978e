//! Weight matrices as checkpoints store them, the linear layers that they belong to, the checks
//! that let kernels trust their extents, and the errors that CPU and GPU kernels share.

mod convert;
mod error;
mod linear;
pub mod names;
#[cfg(feature = "synthetic")]
pub mod synthetic;
mod weight;

pub use error::{DriverCall, KernelError, Rule};
pub use linear::{LinearKind, LinearShape};
pub use weight::{
    DenseDtype, DenseWeight, GptqBits, GptqWeight, GroupIndex, LinearParts, LinearWeight,
    PUBLISHED_GROUP_SIZE,
};
