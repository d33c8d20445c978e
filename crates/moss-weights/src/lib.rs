//! Weight matrices in the layout of checkpoints with checked shapes, the linear layers of a block,
//! and the errors that CPU and GPU kernels share.

mod dtype;
mod error;
mod extent;
mod linear;
pub mod names;
#[cfg(feature = "synthetic")]
pub mod synthetic;
mod weight;

pub use dtype::DenseDtype;
pub use error::{DriverCall, KernelError, Rule};
pub use extent::{ExpectedShape, Extent};
pub use linear::{LinearKind, LinearShape};
pub use weight::{
    DenseWeight, GptqBits, GptqWeight, GroupIndex, LinearParts, LinearWeight, PUBLISHED_GROUP_SIZE,
};
