//! The operations of a [`super::Matrix`] in host memory, over candle's tensors.

use std::ops::Range;

use candle_core::{D, DType, Device, Tensor};
use moss_cpu::{KernelError, ops::RopeTable};
use moss_cuda::HeadLayout;
use moss_model::QkvPart;
use rayon::prelude::*;

use super::{Part, Store};

pub(super) fn zeros(rows: usize, columns: usize) -> Result<Tensor, KernelError> {
    Ok(Tensor::zeros((rows, columns), DType::F32, &Device::Cpu)?)
}

/// Rows and columns.
pub(super) fn extents(x: &Tensor) -> (usize, usize) {
    match *x.dims() {
        [rows, columns] => (rows, columns),
        _ => (0, 0), // every matrix is made with two
    }
}

pub(super) fn write(to: &Tensor, first: usize, values: &[f32]) -> Result<(), KernelError> {
    let values = Tensor::from_slice(values, ((), extents(to).1), &Device::Cpu)?;
    Ok(to.slice_set(&values, 0, first)?)
}

/// What a product takes. Whole rows are no copy.
pub(super) fn part(x: &Tensor, part: &Part<'_>) -> Result<Tensor, KernelError> {
    let mut x = x.narrow(0, part.rows.start, part.rows.len())?;
    if part.columns != (0..extents(&x).1) {
        x = x
            .narrow(1, part.columns.start, part.columns.len())?
            .contiguous()?;
    }
    Ok(if part.transposed { x.t()? } else { x })
}

pub(super) fn gemm(
    (y, rows): (&mut Tensor, Range<usize>),
    alpha: f32,
    a: &Tensor,
    b: &Tensor,
    store: Store,
) -> Result<(), KernelError> {
    // The second operand is the smaller one where alpha is not 1.
    let b = if alpha == 1.0 || alpha == -1.0 {
        b.clone()
    } else {
        (b * f64::from(alpha))?
    };
    let product = a.matmul(&b)?;
    let product = if alpha == -1.0 && store == Store::Overwrite {
        product.neg()?
    } else {
        product
    };
    let is_whole = rows == (0..extents(y).0);
    let own = || {
        if is_whole {
            Ok(y.clone())
        } else {
            y.narrow(0, rows.start, rows.len())
        }
    };
    let result = match store {
        Store::Overwrite => product,
        Store::Add if alpha == -1.0 => (own()? - product)?,
        Store::Add => (own()? + product)?,
    };
    if is_whole {
        *y = result;
        return Ok(());
    }
    Ok(y.slice_set(&result, 0, rows.start)?)
}

pub(super) fn layer_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
) -> Result<Tensor, KernelError> {
    let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (x.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?;
    Ok(x.broadcast_div(&deviation)?
        .broadcast_mul(weight)?
        .broadcast_add(bias)?)
}

/// Sines and cosines, `[positions, pairs]` each.
pub(super) fn angles(table: &RopeTable, positions: usize) -> Result<[Tensor; 2], KernelError> {
    let shape = (positions, table.pairs());
    let tensor = |values: &[f32]| Tensor::from_slice(values, shape, &Device::Cpu);
    Ok([tensor(table.sin())?, tensor(table.cos())?])
}

/// See [`super::Matrix::split_heads`].
pub(super) fn split_heads(
    qkv: &Tensor,
    angles: &[Tensor; 2],
    layout: HeadLayout,
    [keys, values]: [&Tensor; 2],
    start: usize,
) -> Result<Tensor, KernelError> {
    let ((rows, _), (cached, _)) = (qkv.dims2()?, keys.dims2()?);
    let HeadLayout {
        num_heads: heads,
        head_dim,
        shards,
    } = layout;
    let slabs = qkv.reshape((rows, shards, 3, heads / shards, head_dim))?;
    // [heads, rows, head_dim] of a `QkvPart`
    let part = |part: QkvPart| {
        let part = slabs
            .narrow(2, part as usize, 1)?
            .contiguous()?
            .reshape((rows, heads, head_dim))?;
        part.transpose(0, 1)?.contiguous()
    };
    let (q, v, k) = (
        rotated(&part(QkvPart::Query)?, angles, start)?,
        part(QkvPart::Value)?,
        rotated(&part(QkvPart::Key)?, angles, start)?,
    );
    for (new, all) in [(k, keys), (v, values)] {
        // The same memory by another shape.
        all.reshape((heads, cached / heads, head_dim))?
            .slice_set(&new, 1, start)?;
    }
    Ok(q.reshape((heads * rows, head_dim))?)
}

/// Rotates the lanes (2i, 2i + 1) of every head: `x` is `[heads, rows, head_dim]`, of positions
/// from `start` on.
fn rotated(x: &Tensor, [sin, cos]: &[Tensor; 2], start: usize) -> Result<Tensor, KernelError> {
    let ((heads, rows, head_dim), pairs) = (x.dims3()?, extents(sin).1);
    if pairs == 0 {
        return Ok(x.clone());
    }
    let of_rows = |angles: &Tensor| angles.narrow(0, start, rows)?.reshape((1, rows, pairs, 1));
    let (sin, cos) = (of_rows(sin)?, of_rows(cos)?);
    let turning = x
        .narrow(2, 0, 2 * pairs)?
        .contiguous()?
        .reshape((heads, rows, pairs, 2))?;
    let (even, odd) = (turning.narrow(3, 0, 1)?, turning.narrow(3, 1, 1)?);
    let first = (even.broadcast_mul(&cos)? - odd.broadcast_mul(&sin)?)?;
    let second = (odd.broadcast_mul(&cos)? + even.broadcast_mul(&sin)?)?;
    let turned = Tensor::cat(&[first, second], 3)?.reshape((heads, rows, 2 * pairs))?;
    if 2 * pairs == head_dim {
        return Ok(turned);
    }
    Ok(Tensor::cat(
        &[turned, x.narrow(2, 2 * pairs, head_dim - 2 * pairs)?],
        2,
    )?)
}

/// `[heads * rows, head_dim]` as `[rows, heads * head_dim]`.
pub(super) fn merged(x: &Tensor, heads: usize) -> Result<Tensor, KernelError> {
    let (all, head_dim) = x.dims2()?;
    let rows = all / heads;
    let x = x
        .reshape((heads, rows, head_dim))?
        .transpose(0, 1)?
        .contiguous()?;
    Ok(x.reshape((rows, heads * head_dim))?)
}

/// See [`super::Matrix::causal_softmax`].
pub(super) fn causal_softmax(scores: &Tensor, first: usize) -> Result<Tensor, KernelError> {
    let (rows, columns) = scores.dims2()?;
    let mut values: Vec<f32> = scores.flatten_all()?.to_vec1()?;
    values
        .par_chunks_mut(columns.max(1))
        .enumerate()
        .for_each(|(at, row)| {
            let (seen, ahead) = row.split_at_mut((first + at + 1).min(columns));
            let most = seen
                .iter()
                .fold(f32::NEG_INFINITY, |most, value| most.max(*value));
            seen.iter_mut()
                .for_each(|value| *value = (*value - most).exp());
            let sum: f32 = seen.iter().sum();
            seen.iter_mut().for_each(|value| *value /= sum);
            ahead.fill(0.0);
        });
    Ok(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
}

/// See [`super::Matrix::permute_upper`]. Takes the square besides.
pub(super) fn permute_upper(
    panels: &[Tensor],
    width: usize,
    place: &[u32],
) -> Result<Vec<Tensor>, KernelError> {
    let n = place.len();
    let square = zeros(n, n)?;
    for (panel, start) in panels.iter().zip((0..n).step_by(width)) {
        let (end, width) = panel.dims2()?;
        square
            .narrow(0, start, width)?
            .slice_set(&panel.t()?.contiguous()?, 1, 0)?;
        square.narrow(0, 0, end)?.slice_set(panel, 1, start)?;
    }
    let mut order = vec![0u32; n];
    place
        .iter()
        .enumerate()
        .for_each(|(at, to)| order[*to as usize] = at as u32);
    let order = Tensor::from_vec(order, n, &Device::Cpu)?;
    let panel = |start: usize| -> Result<Tensor, KernelError> {
        let end = n.min(start + width);
        let rows = square.index_select(&order.narrow(0, start, end - start)?, 0)?;
        Ok(rows
            .index_select(&order.narrow(0, 0, end)?, 1)?
            .t()?
            .contiguous()?)
    };
    (0..n).step_by(width).map(panel).collect()
}
