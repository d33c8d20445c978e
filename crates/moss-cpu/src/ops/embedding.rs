//! Token ids to rows of the embedding.

use candle_core::{DType, Device, Tensor};

use super::{expect_cpu, floats::fill};
use crate::{DenseWeight, KernelError};

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
                self.table.dtype.widen(row, values);
            },
        )
    }
}
