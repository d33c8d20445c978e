//! Causal attention over the paged cache.

use candle_core::{CpuStorage, Storage, Tensor};
use rayon::prelude::*;

use super::{KvLayer, shape_error, with_f32};
use crate::{
    KernelError,
    cpu::{
        attention::{CacheElement, Query},
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

/// Attends each row over its sequence's cached positions, its own included: `softmax(q k^T / sqrt(head_dim)) v`.
/// The keys and values of the pass have been written already. Source: arXiv 1706.03762, section 3.2.1.
///
/// # Shapes
/// - `q`: `[rows, num_heads, head_dim]`; the result is `[rows, num_heads * head_dim]` in the type of `q`
///
/// # Errors
/// [`KernelError::Shape`] when the extents do not fit; [`KernelError::Argument`] for rows or blocks that do not exist.
pub fn attention(q: &Tensor, cache: &KvLayer, sequences: &[SequenceRows<'_>]) -> Result<Tensor, KernelError> {
    let (num_blocks, num_heads, block_size, head_dim) = cache.extents()?;
    let rows = q.dims().first().copied().unwrap_or(0);
    if q.dims() != [rows, num_heads, head_dim] {
        return Err(shape_error(OP, "q", q, format!("[rows, {num_heads}, {head_dim}]")));
    }
    let argument = |arg, found, rule| KernelError::Argument { op: OP, arg, found, rule };
    // The positions that each row sees, and through which blocks.
    let mut plan = vec![(0usize, &[][..]); rows];
    for sequence in sequences {
        let SequenceRows { first_row, num_rows, start_pos, blocks } = *sequence;
        let (end, last_row) = (start_pos.saturating_add(num_rows), first_row.saturating_add(num_rows));
        let needed = end.div_ceil(block_size);
        let used = blocks
            .get(..needed)
            .ok_or_else(|| argument("blocks", blocks.len(), format!("at least {needed}")))?;
        if let Some(&block) = used.iter().find(|block| **block as usize >= num_blocks) {
            return Err(argument("block", block as usize, format!("below {num_blocks}")));
        }
        let mine = plan
            .get_mut(first_row..last_row)
            .ok_or_else(|| argument("last row", last_row, format!("at most {rows}")))?;
        for (row, plan) in mine.iter_mut().enumerate() {
            *plan = (start_pos + row + 1, used);
        }
    }
    let mut out = vec![0.0f32; rows * num_heads * head_dim];
    with_f32(OP, "q", q, |q| -> Result<(), KernelError> {
        let (keys, _) = cache.keys.storage_and_layout();
        let (values, _) = cache.values.storage_and_layout();
        let shape = Shape { num_heads, block_size, head_dim };
        match (&*keys, &*values) {
            (Storage::Cpu(CpuStorage::F32(k)), Storage::Cpu(CpuStorage::F32(v))) => {
                run(q, k, v, &plan, shape, &mut out)
            }
            (Storage::Cpu(CpuStorage::F16(k)), Storage::Cpu(CpuStorage::F16(v))) => {
                run(q, k, v, &plan, shape, &mut out)
            }
            (Storage::Cpu(CpuStorage::BF16(k)), Storage::Cpu(CpuStorage::BF16(v))) => {
                run(q, k, v, &plan, shape, &mut out);
            }
            _ => return Err(KernelError::NotCompiled { op: OP }),
        }
        Ok(())
    })??;
    Ok(Tensor::from_vec(out, (rows, num_heads * head_dim), q.device())?.to_dtype(q.dtype())?)
}

#[derive(Clone, Copy)]
struct Shape {
    num_heads: usize,
    block_size: usize,
    head_dim: usize,
}

fn run<T: CacheElement>(
    q: &[f32],
    keys: &[T],
    values: &[T],
    plan: &[(usize, &[u32])],
    shape: Shape,
    out: &mut [f32],
) {
    let isa = cpu_features();
    let Shape { num_heads, block_size, head_dim } = shape;
    let longest = plan.iter().map(|(len, _)| *len).max().unwrap_or(0);
    let tasks = out.par_chunks_exact_mut(head_dim).zip(q.par_chunks_exact(head_dim)).enumerate();
    tasks.for_each_init(
        || vec![0.0f32; longest],
        |scores, (index, (out, q))| {
            let (len, blocks) = plan[index / num_heads];
            let head = index % num_heads;
            Query { q, keys, values, blocks, len, head, num_heads, block_size, scores, out }.attend(isa);
        },
    );
}
