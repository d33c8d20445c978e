//! Token ids to rows of the embedding.

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};

use super::{expect_cpu, floats::fill};
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
        if let Some(&id) = ids.iter().find(|id| **id as usize >= rows) {
            let rule = format!("below {rows}");
            return Err(KernelError::Argument {
                op: OP,
                arg: "id",
                found: id as usize,
                rule,
            });
        }
        fill(
            ids.len() * hidden,
            hidden,
            (ids.len(), hidden),
            DType::F32,
            |at, values| {
                let row = &self.table.data[ids[at] as usize * row_bytes..][..row_bytes];
                let halves = row.chunks_exact(2).map(|b| [b[0], b[1]]);
                match self.table.dtype {
                    DenseDtype::F32 => {
                        let words = row
                            .chunks_exact(4)
                            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                        values
                            .iter_mut()
                            .zip(words)
                            .for_each(|(to, value)| *to = value);
                    }
                    DenseDtype::F16 => {
                        values
                            .iter_mut()
                            .zip(halves)
                            .for_each(|(to, b)| *to = f16::from_le_bytes(b).to_f32());
                    }
                    DenseDtype::BF16 => {
                        values
                            .iter_mut()
                            .zip(halves)
                            .for_each(|(to, b)| *to = bf16::from_le_bytes(b).to_f32());
                    }
                }
            },
        )
    }
}
