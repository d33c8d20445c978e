//! Dense matrix product, `y = x W^T + bias`, on the weight as it is stored.
//!
//! Every output is one dot product, divided into blocks of [`BLOCK`](task::BLOCK) inputs: a block is
//! summed in `LANES` interleaved partial sums, which are reduced in a fixed order and added to the
//! sum of the blocks before. Decode ([`gemv`]) and prefill ([`gemm`]) do the same additions in the
//! same order, so the result of a row does not depend on the number of rows.

mod gemm;
mod gemv;
mod task;

use std::marker::PhantomData;

use half::{bf16, f16};
use rayon::prelude::*;

pub(crate) use self::task::row_stride;
use self::{
    gemm::Gemm,
    gemv::Gemv,
    task::{GEMV_ROWS, Task},
};
use super::{Isa, columns::split_columns, element::Element};
use crate::{DenseDtype, DenseWeight};

/// Outputs of one GEMV task: long contiguous reads of the mapped file.
const GEMV_OUTPUTS: usize = 64;

/// Computes `y`, `[rows, out_features]`. `x` is `[rows, row_stride]`, with zeros after
/// `in_features` values.
pub(crate) fn matmul(
    isa: Isa,
    x: &[f32],
    rows: usize,
    weight: &DenseWeight,
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    match weight.dtype {
        DenseDtype::F32 => run::<f32>(isa, x, rows, weight, bias, y),
        DenseDtype::F16 => run::<f16>(isa, x, rows, weight, bias, y),
        DenseDtype::BF16 => run::<bf16>(isa, x, rows, weight, bias, y),
    }
}

fn run<E: Element>(
    isa: Isa,
    x: &[f32],
    rows: usize,
    weight: &DenseWeight,
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    let (inputs, outputs) = (weight.in_features, weight.out_features);
    assert_eq!(x.len(), rows * row_stride(rows, inputs));
    assert_eq!(y.len(), rows * outputs);
    assert_eq!(weight.data.len(), outputs * inputs * size_of::<E>());
    assert!(bias.is_none_or(|bias| bias.len() == outputs));
    // The division into tiles changes no sum.
    let step = if rows <= GEMV_ROWS {
        GEMV_OUTPUTS
    } else {
        gemm::tile_outputs(outputs)
    };
    // One tile at a time: a thread that the system interrupts must not own a large share.
    split_columns(y, outputs, step)
        .into_par_iter()
        .with_max_len(1)
        .for_each(|out| {
            let task = Task::<E> {
                x,
                rows,
                weight: &weight.data,
                inputs,
                bias,
                out,
                element: PhantomData,
            };
            if rows <= GEMV_ROWS {
                isa.run(Gemv(task));
            } else {
                isa.run(Gemm(task));
            }
        });
}
