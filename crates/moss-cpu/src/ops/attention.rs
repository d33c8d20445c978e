//! Causal attention over the paged cache.

use candle_core::{CpuStorage, Storage, Tensor};
use rayon::prelude::*;

use super::{KvLayer, floats::rounded, shape_error, with_f32};
use crate::{
    KernelError,
    kernels::{
        DisjointMatrix,
        attention::{self, CacheElement, Queries},
        cpu_features,
    },
};

const OP: &str = "attention";

/// Consecutive rows of a pass that belong to one sequence.
#[derive(Debug, Clone, Copy)]
pub struct SequenceRows<'a> {
    /// First row of the sequence in the pass.
    pub first_row: usize,
    /// Rows of the sequence.
    pub num_rows: usize,
    /// Position of the first row.
    pub start_pos: usize,
    /// The sequence's cache blocks.
    pub blocks: &'a [u32],
}

/// Attends each row over its sequence's cached positions, its own included: `softmax(q k^T /
/// sqrt(head_dim)) v`. The keys and values of the pass have been written already. Source: arXiv
/// 1706.03762, section 3.2.1.
///
/// # Shapes
/// - `q`: `[rows, num_heads, head_dim]`; the result is `[rows, num_heads * head_dim]` in the type
///   of `q`
///
/// # Errors
/// [`KernelError::Shape`] when the extents do not fit; [`KernelError::Argument`] for rows or blocks
/// that do not exist.
pub fn attention(
    q: &Tensor,
    cache: &KvLayer,
    sequences: &[SequenceRows<'_>],
) -> Result<Tensor, KernelError> {
    let (num_blocks, num_heads, block_size, head_dim) = cache.extents()?;
    let rows = q.dims().first().copied().unwrap_or(0);
    if q.dims() != [rows, num_heads, head_dim] {
        return Err(shape_error(
            OP,
            "q",
            q,
            format!("[rows, {num_heads}, {head_dim}]"),
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
            .ok_or_else(|| argument("blocks", blocks.len(), format!("at least {needed}")))?;
        if let Some(&block) = used.iter().find(|block| **block as usize >= num_blocks) {
            return Err(argument(
                "block",
                block as usize,
                format!("below {num_blocks}"),
            ));
        }
        if last_row > rows {
            return Err(argument("last row", last_row, format!("at most {rows}")));
        }
        // Each row is written by one task.
        if first_row < next_row {
            return Err(argument(
                "first row",
                first_row,
                format!("at least {next_row}"),
            ));
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

/// Consecutive rows of a sequence, and what the first of them sees.
struct Group<'a> {
    first_row: usize,
    rows: usize,
    len: usize,
    blocks: &'a [u32],
}

fn run<T: CacheElement>(
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
    let out = DisjointMatrix::new(out, num_heads * head_dim);
    (0..groups.len() * num_heads).into_par_iter().for_each_init(
        || vec![0.0f32; longest * attention::ROWS],
        |scores, index| {
            let (
                Group {
                    first_row,
                    rows,
                    len,
                    blocks,
                },
                head,
            ) = (&groups[index / num_heads], index % num_heads);
            let (first_row, rows, len) = (*first_row, *rows, *len);
            let q = &q[(first_row * num_heads + head) * head_dim..];
            isa.run(Queries {
                rows,
                q,
                keys,
                values,
                blocks,
                len,
                head,
                num_heads,
                block_size,
                head_dim,
                scores,
                out,
                first_row,
            });
        },
    );
}
