//! GPTQ matrix product with 8-bit activations, on the published layout.
//!
//! A word of `qweight` contains consecutive inputs of one output, which is what instructions for
//! sums of products of bytes read: lanes run along the outputs, and every lane has the same four
//! inputs. Within a piece (a group of inputs, or a part of a long one) with `z = stored zero + 1` and
//! `x[k] ~ step * r[k]`,
//!
//! ```text
//! y[n] += scale[g][n] * step * (sum_k r[k] * q[k][n]  -  z[g][n] * sum_k r[k])
//! ```
//! The bracket is exact, because it and both its terms are integers below 2^24. Its product with the
//! step is rounded once, and the sum with the product with the scale once. Every instruction set
//! gives the same bits, for any number of rows.

mod activations;
mod gemm;
mod gemv;
mod task;
mod workspace;

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

pub(crate) use self::activations::{Inputs, Int8Activations};
use self::{gemm::Gemm, gemv::Gemv, task::Task, workspace::Workspace};
use super::{
    packed::Packed,
    tile::{self, ColumnTile},
};
use crate::{
    GptqBits,
    kernels::{Isa, columns::split_columns},
};

/// Computes `y`, `[rows, outputs]`.
pub(crate) fn matmul(isa: Isa, x: Inputs<'_>, weight: &Packed<'_>, y: &mut [f32]) {
    match weight.bits {
        GptqBits::Four => run::<4, 8>(isa, x, weight, y),
        GptqBits::Eight => run::<8, 4>(isa, x, weight, y),
    }
}

fn run<const BITS: u32, const PER: usize>(
    isa: Isa,
    x: Inputs<'_>,
    weight: &Packed<'_>,
    y: &mut [f32],
) {
    let (rows, outputs) = (x.rows, weight.outputs);
    assert_eq!(y.len(), rows * outputs);
    weight.check();
    let x = &Int8Activations::new::<PER>(isa, x, weight.segments);
    let task = |out| Task::<BITS, PER> {
        x,
        tile: ColumnTile { weight, out },
    };
    if rows == 1 {
        split_columns(y, outputs, tile::gemv_outputs(outputs))
            .into_par_iter()
            .with_max_len(1)
            .for_each(|out| isa.run_dots(Gemv(task(out))));
        return;
    }
    // Every thread takes the next tile when it is free, and keeps its workspace: dividing the range
    // in halves would leave the faster threads idle.
    let tiles = split_columns(y, outputs, workspace::tile_outputs(outputs)).into_iter();
    let tiles = Mutex::new(tiles);
    let next = || tiles.lock().unwrap_or_else(PoisonError::into_inner).next();
    rayon::broadcast(|_| {
        let mut workspace = None;
        while let Some(out) = next() {
            isa.run_dots(Gemm {
                task: task(out),
                workspace: workspace.get_or_insert_with(|| Workspace::new(x)),
            });
        }
    });
}
