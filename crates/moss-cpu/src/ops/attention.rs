//! Causal attention over the paged KV cache.

use candle_core::{CpuStorage, Storage, Tensor};
use rayon::prelude::*;

use super::{
    check::shape_error,
    floats::{rounded, with_f32},
    kv_cache::{Extents, KvLayer},
};
use crate::{
    KernelError, Rule,
    kernels::{
        Columns,
        attention::{self, Cached, Queries},
        cpu_features, split_columns,
    },
};

const OP: &str = "attention";

/// Consecutive rows of a forward batch that belong to one sequence.
#[derive(Debug, Clone, Copy)]
pub struct SequenceRows<'a> {
    /// First row of the sequence in the forward batch.
    pub first_row: usize,
    /// Rows of the sequence.
    pub num_rows: usize,
    /// Position of the first row.
    pub start_pos: usize,
    /// The sequence's cache blocks.
    pub blocks: &'a [u32],
}

/// Computes `softmax(q k^T / sqrt(head_dim)) v` of each row over the cached positions of its
/// sequence up to and including its position. The keys and values of the forward batch must be in
/// the cache. Source: arXiv 1706.03762, section 3.2.1.
///
/// # Shapes
/// - `q`: `[rows, num_heads, head_dim]`; the result is `[rows, num_heads * head_dim]` in the type
///   of `q`
///
/// # Errors
/// [`KernelError::Shape`] for a `q` of another shape; [`KernelError::Argument`] for rows or blocks
/// that do not exist.
pub fn attention(
    q: &Tensor,
    cache: &KvLayer,
    sequences: &[SequenceRows<'_>],
) -> Result<Tensor, KernelError> {
    let Extents {
        num_blocks,
        num_heads,
        block_size,
        head_dim,
    } = cache.extents;
    let rows = q.dims().first().copied().unwrap_or(0);
    if q.dims() != [rows, num_heads, head_dim] {
        return Err(shape_error(
            OP,
            "q",
            q,
            ["rows".into(), num_heads.into(), head_dim.into()],
        ));
    }
    let argument = |arg, found, rule| KernelError::Argument {
        op: OP,
        arg,
        found,
        rule,
    };
    let (mut groups, mut next_row) = (Vec::new(), 0);
    for sequence in sequences {
        let SequenceRows {
            first_row,
            num_rows,
            start_pos,
            blocks,
        } = *sequence;
        let (end, last_row) = (
            start_pos.saturating_add(num_rows),
            first_row.saturating_add(num_rows),
        );
        let needed = end.div_ceil(block_size);
        let used = blocks
            .get(..needed)
            .ok_or_else(|| argument("blocks", blocks.len(), Rule::AtLeast(needed)))?;
        if let Some(&block) = used.iter().find(|block| **block as usize >= num_blocks) {
            return Err(argument("block", block as usize, Rule::Below(num_blocks)));
        }
        if last_row > rows {
            return Err(argument("last row", last_row, Rule::AtMost(rows)));
        }
        // Each row is written by one task.
        if first_row < next_row {
            return Err(argument("first row", first_row, Rule::AtLeast(next_row)));
        }
        next_row = last_row;
        groups.extend((0..num_rows).step_by(attention::ROWS).map(|row| Group {
            first_row: first_row + row,
            rows: attention::ROWS.min(num_rows - row),
            len: start_pos + row + 1,
            blocks: used,
        }));
    }
    let mut out = vec![0.0f32; rows * num_heads * head_dim];
    with_f32(OP, "q", q, |q| -> Result<(), KernelError> {
        let (keys, _) = cache.keys.storage_and_layout();
        let (values, _) = cache.values.storage_and_layout();
        let shape = Shape {
            num_heads,
            block_size,
            head_dim,
        };
        match (&*keys, &*values) {
            (Storage::Cpu(CpuStorage::F32(k)), Storage::Cpu(CpuStorage::F32(v))) => {
                run(q, k, v, &groups, shape, &mut out)
            }
            (Storage::Cpu(CpuStorage::F16(k)), Storage::Cpu(CpuStorage::F16(v))) => {
                run(q, k, v, &groups, shape, &mut out)
            }
            (Storage::Cpu(CpuStorage::BF16(k)), Storage::Cpu(CpuStorage::BF16(v))) => {
                run(q, k, v, &groups, shape, &mut out);
            }
            (Storage::Cpu(CpuStorage::U8(k)), Storage::Cpu(CpuStorage::U8(v))) => {
                run(q, k, v, &groups, shape, &mut out);
            }
            _ => return Err(KernelError::NotCompiled { op: OP }),
        }
        Ok(())
    })??;
    let out = Tensor::from_vec(out, (rows, num_heads * head_dim), q.device())?;
    rounded(OP, out, q.dtype())
}

#[derive(Clone, Copy)]
struct Shape {
    num_heads: usize,
    block_size: usize,
    head_dim: usize,
}

/// Consecutive rows of a sequence that are computed together.
struct Group<'a> {
    first_row: usize,
    rows: usize,
    /// Positions that the first row attends to.
    len: usize,
    blocks: &'a [u32],
}

fn run<T: Cached>(
    q: &[f32],
    keys: &[T],
    values: &[T],
    groups: &[Group<'_>],
    shape: Shape,
    out: &mut [f32],
) {
    let isa = cpu_features();
    let Shape {
        num_heads,
        block_size,
        head_dim,
    } = shape;
    let longest = groups
        .iter()
        .map(|group| group.len + group.rows)
        .max()
        .unwrap_or(0);
    tasks(groups, shape, out).into_par_iter().for_each_init(
        || vec![0.0f32; longest * attention::ROWS],
        |scores, task| {
            let Task { group, head, out } = task;
            isa.run(Queries {
                rows: group.rows,
                q: &q[(group.first_row * num_heads + head) * head_dim..],
                keys,
                values,
                blocks: group.blocks,
                len: group.len,
                head,
                num_heads,
                block_size,
                head_dim,
                scores,
                out,
            });
        },
    );
}

/// One head of a group.
struct Task<'a> {
    group: &'a Group<'a>,
    head: usize,
    /// `[rows of the group, head_dim]`
    out: Columns<'a>,
}

/// Divides the result, `[rows, num_heads * head_dim]`, by groups and heads.
fn tasks<'a>(groups: &'a [Group<'a>], shape: Shape, mut out: &'a mut [f32]) -> Vec<Task<'a>> {
    let width = shape.num_heads * shape.head_dim;
    let (mut tasks, mut next_row) = (Vec::new(), 0);
    if width == 0 {
        return tasks;
    }
    for group in groups {
        let (_, rest) = out.split_at_mut((group.first_row - next_row) * width);
        let (rows, rest) = rest.split_at_mut(group.rows * width);
        let heads = split_columns(rows, width, shape.head_dim).into_iter();
        tasks.extend(
            heads
                .enumerate()
                .map(|(head, out)| Task { group, head, out }),
        );
        (out, next_row) = (rest, group.first_row + group.rows);
    }
    tasks
}
