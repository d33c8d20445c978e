//! Token ids to rows of the embedding.

use candle_core::{Device, Tensor};
use half::{bf16, f16};

use super::expect_cpu;
use crate::{DenseDtype, DenseWeight, KernelError};

const OP: &str = "embedding";

/// A table of rows, read where it lies.
#[derive(Debug)]
pub struct Embedding {
    table: DenseWeight,
}

impl Embedding {
    /// # Errors
    /// [`KernelError::Argument`] when the bytes are not exactly `[out_features, in_features]`.
    pub fn new(table: DenseWeight) -> Result<Self, KernelError> {
        table.check(OP)?;
        Ok(Self { table })
    }

    /// The rows of `ids`, widened: `[ids, hidden]` f32.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for an id without a row.
    pub fn lookup(&self, ids: &[u32], device: &Device) -> Result<Tensor, KernelError> {
        expect_cpu(OP, device)?;
        let (rows, hidden) = (self.table.out_features, self.table.in_features);
        let row_bytes = hidden * self.table.dtype.bytes();
        let mut values = Vec::with_capacity(ids.len() * hidden);
        for &id in ids {
            let start = id as usize * row_bytes;
            let row = self.table.data.get(start..start + row_bytes).ok_or_else(|| {
                let rule = format!("below {rows}");
                KernelError::Argument { op: OP, arg: "id", found: id as usize, rule }
            })?;
            let halves = row.chunks_exact(2).map(|b| [b[0], b[1]]);
            match self.table.dtype {
                DenseDtype::F32 => {
                    values.extend(row.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
                }
                DenseDtype::F16 => values.extend(halves.map(|b| f16::from_le_bytes(b).to_f32())),
                DenseDtype::BF16 => values.extend(halves.map(|b| bf16::from_le_bytes(b).to_f32())),
            }
        }
        Ok(Tensor::from_vec(values, (ids.len(), hidden), device)?)
    }
}
