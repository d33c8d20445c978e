//! Matrices in host memory. candle computes the products. Everything else is computed here by all
//! threads of the current rayon pool, because candle-core is compiled without optimization.

mod ops;

use std::ops::Range;

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Storage, Tensor};
use moss_weights::KernelError;
use rayon::prelude::*;

use super::part::{Region, Store};

/// Values that one task processes.
const CHUNK: usize = 16_384;

/// `[rows, columns]` f32, row-major, as the tensor that candle's product needs.
#[derive(Debug)]
pub(crate) struct HostMatrix {
    /// Contiguous, and not shared with another matrix.
    tensor: Tensor,
    rows: usize,
    columns: usize,
}

impl HostMatrix {
    pub(crate) fn zeros(rows: usize, columns: usize) -> Result<Self, KernelError> {
        Self::new(vec![0.0; rows * columns], rows, columns)
    }

    pub(crate) fn new(values: Vec<f32>, rows: usize, columns: usize) -> Result<Self, KernelError> {
        let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu)?;
        Ok(Self {
            tensor,
            rows,
            columns,
        })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Returns the values of `rows`, row-major.
    pub(crate) fn to_vec(&self, rows: Range<usize>) -> Result<Vec<f32>, KernelError> {
        self.read(|values| values[self.range(rows)].to_vec())
    }

    /// Copies a block into a new matrix.
    pub(crate) fn block(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Result<Self, KernelError> {
        let (height, width) = (rows.len(), columns.len());
        let mut block = vec![0.0; height * width];
        self.read(|values| {
            let from = values[self.range(rows)].par_chunks_exact(self.columns.max(1));
            let to = block.par_chunks_exact_mut(width.max(1));
            to.zip(from)
                .for_each(|(to, from)| to.copy_from_slice(&from[columns.clone()]));
        })?;
        Self::new(block, height, width)
    }

    /// Returns the operand of a product. A range of columns is copied; whole rows and transposition
    /// are views.
    pub(crate) fn operand(&self, region: &Region) -> Result<Tensor, KernelError> {
        let Region {
            rows,
            columns,
            transposed,
        } = region.clone();
        let x = if columns == (0..self.columns) {
            self.tensor.narrow(0, rows.start, rows.len())?
        } else {
            self.block(rows, columns)?.tensor
        };
        Ok(if transposed { x.t()? } else { x })
    }

    /// Returns the whole matrix as the operand of a product.
    pub(crate) fn all(&self) -> Tensor {
        self.tensor.clone()
    }

    /// Returns the transpose as the operand of a product.
    pub(crate) fn transposed(&self) -> Result<Tensor, KernelError> {
        Ok(self.tensor.t()?)
    }

    /// Computes `a b`.
    pub(crate) fn product(a: &Tensor, b: &Tensor) -> Result<Self, KernelError> {
        let tensor = a.matmul(b)?;
        let (rows, columns) = tensor.dims2()?;
        Ok(Self {
            tensor,
            rows,
            columns,
        })
    }

    /// Computes `self[rows] = alpha a b` or `self[rows] += alpha a b`.
    pub(crate) fn gemm(
        &mut self,
        rows: Range<usize>,
        alpha: f32,
        a: &Tensor,
        b: &Tensor,
        store: Store,
    ) -> Result<(), KernelError> {
        // A sign is applied to the product. Another factor is applied to `b`, the smaller operand
        // where alpha is not 1.
        let product = if alpha.abs() == 1.0 {
            Self::product(a, b)?
        } else {
            Self::product(a, &scaled(b, alpha)?)?
        };
        let negative = alpha == -1.0;
        if store == Store::Overwrite && !negative && rows == (0..self.rows) {
            *self = product;
            return Ok(());
        }
        let range = self.range(rows);
        product.read(|product| {
            self.edit(|values| {
                let chunks = values[range.clone()].par_chunks_mut(CHUNK);
                chunks
                    .zip(product.par_chunks(CHUNK))
                    .for_each(|(to, from)| combine(to, from, negative, store));
            })
        })?
    }

    /// Overwrites the rows from `first` on.
    pub(crate) fn write(&mut self, first: usize, values: &[f32]) -> Result<(), KernelError> {
        let start = first * self.columns;
        self.edit(|to| to[start..start + values.len()].copy_from_slice(values))
    }

    /// Copies rows of `from` over the rows from `first` on.
    pub(crate) fn copy(
        &mut self,
        first: usize,
        from: &Self,
        rows: Range<usize>,
    ) -> Result<(), KernelError> {
        let range = from.range(rows);
        from.read(|values| self.write(first, &values[range]))?
    }

    /// The range of the values of `rows`.
    fn range(&self, rows: Range<usize>) -> Range<usize> {
        rows.start * self.columns..rows.end * self.columns
    }

    fn read<R>(&self, f: impl FnOnce(&[f32]) -> R) -> Result<R, KernelError> {
        read(&self.tensor, f)
    }

    /// Calls `f` with all values, to change them in place.
    fn edit(&mut self, f: impl Fn(&mut [f32])) -> Result<(), KernelError> {
        Ok(self.tensor.inplace_op1(&Edit(f))?)
    }
}

/// Calls `f` with the values of a contiguous tensor.
fn read<R>(x: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R, KernelError> {
    let (storage, layout) = x.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => Ok(f(&values[start..end])),
        _ => Err(KernelError::Dtype {
            op: "read",
            arg: "matrix",
            found: x.dtype().as_str(),
        }),
    }
}

/// A closure that changes a tensor's values in place.
struct Edit<F>(F);

impl<F: Fn(&mut [f32])> InplaceOp1 for Edit<F> {
    fn name(&self) -> &'static str {
        "edit"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        match (storage, layout.contiguous_offsets()) {
            (CpuStorage::F32(values), Some((start, end))) => {
                (self.0)(&mut values[start..end]);
                Ok(())
            }
            _ => candle_core::bail!("expected a contiguous f32 matrix"),
        }
    }
}

/// Returns `alpha x`, contiguous.
fn scaled(x: &Tensor, alpha: f32) -> Result<Tensor, KernelError> {
    let (rows, columns) = x.dims2()?;
    let mut values = vec![0.0; rows * columns];
    if x.is_contiguous() {
        read(x, |from| {
            let chunks = values.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK));
            chunks.for_each(|(to, from)| {
                to.iter_mut()
                    .zip(from)
                    .for_each(|(to, from)| *to = from * alpha);
            });
        })?;
    } else {
        read(&x.t()?, |from| {
            let lines = values.par_chunks_exact_mut(columns.max(1)).enumerate();
            lines.for_each(|(row, to)| {
                for (to, from) in to.iter_mut().zip(from.chunks_exact(rows)) {
                    *to = from[row] * alpha;
                }
            });
        })?;
    }
    Ok(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
}

fn combine(to: &mut [f32], product: &[f32], negative: bool, store: Store) {
    let pairs = to.iter_mut().zip(product);
    match (store, negative) {
        (Store::Overwrite, false) => pairs.for_each(|(to, product)| *to = *product),
        (Store::Overwrite, true) => pairs.for_each(|(to, product)| *to = -product),
        (Store::Add, false) => pairs.for_each(|(to, product)| *to += product),
        (Store::Add, true) => pairs.for_each(|(to, product)| *to -= product),
    }
}
