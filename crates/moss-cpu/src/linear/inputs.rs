//! Copies of the inputs in the order and with the padding that the kernels read.

use rayon::prelude::*;

use crate::kernels::{Aligned, dense, gptq};

/// Copies the inputs of a dense weight, `[rows, inputs]`, and pads rows with zeros to whole vectors.
pub(super) fn for_dense(x: &[f32], rows: usize, inputs: usize) -> Aligned {
    let stride = dense::row_stride(rows, inputs);
    let mut padded = Aligned::zeros(rows * stride);
    // By all threads, because the pages are first written here.
    padded
        .par_chunks_exact_mut(stride)
        .zip(x.par_chunks_exact(inputs))
        .for_each(|(to, from)| to[..inputs].copy_from_slice(from));
    padded
}

/// Copies the inputs of a packed weight, `[rows, inputs]`, in the order of its columns. Inputs below
/// [`gptq::SMALLEST_INPUT`] become zero.
pub(super) fn for_packed(x: &[f32], rows: usize, inputs: usize, order: Option<&[u32]>) -> Vec<f32> {
    let stride = gptq::row_stride(rows, order.map_or(inputs, <[u32]>::len));
    let flushed = |x: f32| {
        if x.abs() < gptq::SMALLEST_INPUT {
            0.0
        } else {
            x
        }
    };
    let mut ordered = vec![0.0; rows * stride];
    ordered
        .par_chunks_exact_mut(stride)
        .zip(x.par_chunks_exact(inputs))
        .for_each(|(to, from)| match order {
            None => {
                for (to, from) in to.iter_mut().zip(from) {
                    *to = flushed(*from);
                }
            }
            Some(order) => {
                for (to, input) in to.iter_mut().zip(order) {
                    *to = from.get(*input as usize).copied().map_or(0.0, flushed);
                }
            }
        });
    ordered
}
