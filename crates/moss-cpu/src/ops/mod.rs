//! Operations other than matrix products, each on one file: checks, launch, and the arithmetic
//! where it is plain.

mod activation;
mod attention;
mod dequantize;
mod embedding;
mod finite;
mod floats;
mod gather_columns;
mod kv_cache;
mod norm;
mod residual;
mod rotary;

pub use activation::gelu_tanh;
pub use attention::{SequenceRows, attention};
pub use dequantize::PackedWeight;
pub use embedding::Embedding;
pub use finite::{BadValue, first_non_finite};
pub(crate) use floats::{Floats, with_f32, with_floats};
pub use gather_columns::gather_columns;
pub use kv_cache::{KvLayer, kv_write};
pub use norm::layer_norm;
pub use residual::add_residual;
pub use rotary::{RopePrecision, RopeTable, rotary};

use candle_core::{Device, Tensor};

use crate::KernelError;

pub(crate) fn expect_cpu(op: &'static str, device: &Device) -> Result<(), KernelError> {
    if device.is_cpu() {
        Ok(())
    } else {
        Err(KernelError::NotCompiled { op })
    }
}

pub(crate) fn shape_error(
    op: &'static str,
    arg: &'static str,
    x: &Tensor,
    expected: impl Into<String>,
) -> KernelError {
    KernelError::Shape {
        op,
        arg,
        found: x.dims().to_vec(),
        expected: expected.into(),
    }
}
