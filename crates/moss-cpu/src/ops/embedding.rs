//! Look-up of token embeddings.

use candle_core::{DType, Device, Tensor};

use super::{check::expect_cpu, floats::fill};
use crate::{DenseWeight, KernelError, Rule};

const OP: &str = "embedding";

/// The embedding table, used in place.
#[derive(Debug)]
pub struct Embedding {
    table: DenseWeight,
}

impl Embedding {
    /// Checks the table.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if the length is not that of `[out_features, in_features]`.
    pub fn new(table: DenseWeight) -> Result<Self, KernelError> {
        table.check(OP)?;
        Ok(Self { table })
    }

    /// Returns the rows of `ids`, converted to f32: `[ids, hidden]`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for an id past the table.
    pub fn lookup(&self, ids: &[u32], device: &Device) -> Result<Tensor, KernelError> {
        expect_cpu(OP, device)?;
        let (rows, hidden) = (self.table.out_features, self.table.in_features);
        let row_bytes = hidden * self.table.dtype.bytes();
        if let Some(&id) = ids.iter().find(|id| **id as usize >= rows) {
            let rule = Rule::Below(rows);
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
