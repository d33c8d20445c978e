//! Matrices in f32 on a GPU, for GPTQ, which works layer by layer: products by cuBLAS, and the
//! operations between them.

mod elementwise;
mod heads;
mod matrix;
mod permute;

pub use heads::{F32Angles, SplitHeads};
pub use matrix::{F32Matrix, F32Part};
