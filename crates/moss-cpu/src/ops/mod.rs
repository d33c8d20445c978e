//! Operations other than linear layers. Each file checks the arguments of one operation, runs it on
//! all threads, and contains its arithmetic if that is simple.

mod activation;
mod attention;
mod check;
mod dequantize;
mod embedding;
mod finite;
mod floats;
mod gather_columns;
mod kv_blocks;
mod kv_cache;
mod norm;
mod residual;
mod rotary;

pub use activation::gelu_tanh;
pub use attention::{SequenceRows, attention};
pub(crate) use check::{expect_cpu, shape_error};
pub use dequantize::PackedWeight;
pub use embedding::Embedding;
pub use finite::{BadValue, first_non_finite};
pub(crate) use floats::{with_f32, with_floats};
pub use gather_columns::gather_columns;
pub use kv_cache::{KvLayer, kv_write};
pub use norm::layer_norm;
pub use residual::add_residual;
pub use rotary::{RopePrecision, RopeTable, rotary};
